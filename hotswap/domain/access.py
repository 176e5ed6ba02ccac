"""Grants: a grant is a role, everywhere or in one team.

It is spelled `Viewer`, or `payments:MLEngineer` for one team, in tokens, files, settings and on the command line alike.
A role in a team counts for that team's models only; a role without a team counts for all models.
"""

from dataclasses import dataclass, replace

from hotswap.domain.vocabulary import Role

MOST_TEAM_LENGTH = 255
PROGRAM = "service:"
"""The beginning of a service token's subject, before its name."""


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    role: Role
    team: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Grant":
        """Parse a grant. Raises ValueError for an unknown role, and for an agent's role, which belongs to no team."""
        team, in_team, role = text.rpartition(":")
        if role not in set(Role):
            known = ", ".join(role for role in Role if role is not Role.TRAFFIC_AGENT)
            raise ValueError(
                f"{role!r} is not a role; the roles are {known}, each also for one team: payments:{Role.VIEWER}"
            )
        if not in_team:
            return cls(Role(role))
        if not team or len(team) > MOST_TEAM_LENGTH or Role(role) is Role.TRAFFIC_AGENT:
            raise ValueError(f"{text!r} is not a role in a team, such as payments:{Role.VIEWER}")
        return cls(Role(role), team)

    def __str__(self) -> str:
        return self.role.value if self.team is None else f"{self.team}:{self.role.value}"


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of a request.

    `team` is the team of the models that the request is about: roles in it count beside those that count everywhere.
    """

    subject: str
    grants: frozenset[Grant]
    team: str | None = None

    @property
    def is_program(self) -> bool:
        """Return whether a service token calls: its owner can be any program or person that holds it."""
        return is_program(self.subject)

    @property
    def roles(self) -> frozenset[Role]:
        return frozenset(grant.role for grant in self.grants if grant.team in {None, self.team})

    @property
    def has_teams(self) -> bool:
        return any(grant.team is not None for grant in self.grants)

    def within(self, team: str | None) -> "Principal":
        """Return the same caller, for a model of this team or of none."""
        return replace(self, team=team)

    def has_anywhere(self, roles: frozenset[Role]) -> bool:
        return any(grant.role in roles for grant in self.grants)


def is_program(subject: str) -> bool:
    """Return whether this names a service token."""
    return subject.startswith(PROGRAM)
