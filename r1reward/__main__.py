"""`python -m r1reward` is the command `r1reward`."""

from r1reward.cli import main

raise SystemExit(main())
