"""``s3router doctor``: what is installed, whether an upstream loads, and how to mend what is wrong."""

import argparse
import json
from typing import Any

MARKS = {"ok": "ok  ", "warning": "note", "error": "FAIL"}


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "doctor",
        help="check the installation, and say how to mend it",
        description="Checks versions, s3prl, an upstream, devices, disk and the hub. Exit status 1 if one fails.",
        epilog="example: s3router doctor --upstream wav2vec2_base_960 --json",
    )
    parser.add_argument("--upstream", default="s3router_hubert_mini", help="upstream to load; the default is in the package")
    parser.add_argument("--path_or_url", help="its weights, for entries of s3prl that need a path")
    parser.add_argument("--without_upstream", action="store_true", help="load no upstream, which takes some 15 seconds")
    parser.add_argument("--json", action="store_true", help="print one line of JSON, for reports of faults")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print the findings. Raises InputError if one is an error."""
    from espnet_s3router.cli.quiet import quiet_imports
    from espnet_s3router.cli.setup import diagnosis
    from espnet_s3router.errors import InputError

    with quiet_imports():
        findings = diagnosis.installation()
        if not args.without_upstream and all(one.state != "error" for one in findings):
            findings.append(diagnosis.upstream(args.upstream, args.path_or_url))
    broken = [one for one in findings if one.state == "error"]
    if args.json:
        print(json.dumps({"ok": not broken, "findings": [vars(one) for one in findings]}, ensure_ascii=False))
    else:
        for one in findings:
            print(f"{MARKS[one.state]} {one.name}: {one.value}")
            if one.fix:
                print(f"     {one.fix}")
    if broken:
        raise InputError(f"{len(broken)} of {len(findings)} checks failed: {', '.join(one.name for one in broken)}")
