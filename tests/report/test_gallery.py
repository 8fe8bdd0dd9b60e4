from PIL import Image

from r1reward.report.gallery import figure_gallery


def test_the_preferred_response_is_bold(tmp_path):
    picture = tmp_path / "a.png"
    Image.new("RGB", (28, 28), "red").save(picture)
    figure = figure_gallery([(picture, "what ?", ("one", "two"), 2, "povid")] * 3)
    words = [text for axes in figure.axes for text in axes.texts]
    bold = [text.get_text() for text in words if text.get_fontweight() == "bold"]
    assert bold == ["2  two"] * 3
    assert len([axes for axes in figure.axes if axes.images]) == 3
