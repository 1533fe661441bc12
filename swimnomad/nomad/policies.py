"""What the rules of an ACL policy may look like.

Only their form is checked: that they are HCL, and that the levels are such. What they allow is not
asked anywhere yet.

Source: agent-http.md §2; nomad acl/policy.go.
"""

from __future__ import annotations

from swimnomad.errors import ConfigError
from swimnomad.nomad.hcl import Object, parse, plain

LEVELS = ("deny", "read", "write")
_SECTIONS = {"agent": "Agent", "node": "Node", "operator": "Operator", "quota": "Quota"}


def rules_flaw(rules: str) -> str:
    """What is wrong with rules, in Nomad's words where the mistake is in a level."""
    try:
        tree: Object = parse(rules)
    except (ConfigError, RecursionError) as error:
        return f"Failed to parse ACL Policy: {error}"
    sections = plain(tree)
    assert isinstance(sections, dict)
    if not sections:
        return f"Invalid policy: {rules}"
    for key, name in _SECTIONS.items():
        found = sections.get(key)
        for section in found if isinstance(found, list) else [found]:
            if section is None:
                continue
            level = section.get("policy", "") if isinstance(section, dict) else ""
            if level not in LEVELS:
                return f'Invalid {key} policy: &acl.{name}Policy{{Policy:"{level}"}}'
    return ""
