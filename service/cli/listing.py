"""Groups of commands about one kind of resource; the group alone lists them."""

from typing import Any

from typer.core import TyperGroup


class ListingGroup(TyperGroup):
    """A group whose command `list` runs where no command is named: `tandemcal chips`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` in front of options, and where there is nothing at all."""
        asks_for_help = bool(args) and args[0] in self.get_help_option_names(ctx)
        named = bool(args) and not args[0].startswith("-")
        parsed: Any = super().parse_args(ctx, args if named or asks_for_help else ["list", *args])
        return list(parsed)
