"""`python -m cloudchamber` is the `cloudchamber` command."""

from cloudchamber.cli.main import main

if __name__ == "__main__":
    main()
