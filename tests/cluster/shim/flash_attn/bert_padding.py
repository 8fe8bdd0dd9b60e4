def _absent(*_: object, **__: object) -> None:
    raise NotImplementedError("flash-attn is not installed: packing and ring attention need it")


index_first_axis = pad_input = unpad_input = rearrange = _absent
