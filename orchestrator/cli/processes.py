"""`baton coordinator`, `baton up` and `baton doctor`."""

from typing import Annotated

from cyclopts import Parameter

from orchestrator.cli.output import columns, printable, say, show_json
from orchestrator.cli.remote import Json

__all__ = ["coordinator", "doctor", "up"]

Amqp = Annotated[str | None, Parameter(help="the broker (BATON_AMQP_URL)")]
Db = Annotated[str | None, Parameter(help="the database file (BATON_DB; default .baton/baton.db)")]
Listen = Annotated[str | None, Parameter(help="where the API listens (BATON_LISTEN; default 127.0.0.1:8040)")]
Token = Annotated[str | None, Parameter(help="what the API asks for; needed beyond loopback (BATON_TOKEN)")]
Namespace = Annotated[str | None, Parameter(help="prefix of all names on the bus (BATON_NAMESPACE)")]


def coordinator(
    *,
    amqp: Amqp = None,
    db: Db = None,
    listen: Listen = None,
    token: Token = None,
    namespace: Namespace = None,
) -> None:
    """Run a coordinator in the foreground, until Ctrl-C or SIGTERM."""
    from orchestrator.settings import load_settings
    from runtime.logs import set_up_logging

    settings = load_settings(
        {"amqp_url": amqp, "db": db, "listen": listen, "token": token, "namespace": namespace}
    )
    set_up_logging()
    from orchestrator.app import serve  # takes a second: wrong settings are said before
    from runtime.service import run

    run(serve(settings))


def up(
    *,
    amqp: Amqp = None,
    db: Db = None,
    listen: Listen = None,
    namespace: Namespace = None,
) -> None:
    """Run everything on this machine: a broker if none is given, a coordinator, and an agent named local."""
    import asyncio
    import os

    from orchestrator.local.up import run_all
    from orchestrator.settings import Settings, load_settings

    settings = load_settings({"amqp_url": amqp, "db": db, "listen": listen, "namespace": namespace})
    given = amqp or os.environ.get("BATON_AMQP_URL") or settings.amqp_url != Settings().amqp_url
    asyncio.run(run_all(settings, broker_given=bool(given)))


def doctor(
    *,
    amqp: Amqp = None,
    db: Db = None,
    url: Annotated[str | None, Parameter(help="the API (BATON_URL)")] = None,
    token: Token = None,
    namespace: Namespace = None,
    json: Json = False,
) -> int:
    """Look for what keeps Baton from working, and say what to do. Exit code 1 when something is wrong."""
    import asyncio

    from orchestrator.doctor import examine
    from orchestrator.settings import load_settings
    from runtime.logs import set_up_logging

    flags = {"amqp_url": amqp, "db": db, "url": url, "token": token, "namespace": namespace}
    settings = load_settings(flags)
    set_up_logging()
    checks = asyncio.run(examine(settings))
    if json:
        show_json({"items": [check.as_json() for check in checks], "next": None})
    else:
        say(columns(((check.verdict, check.name, check.message) for check in checks), ("", "check", "found")))
        for check in checks:
            if check.hint:
                say(printable(f"\n{check.name}: {check.hint}"))
    return 1 if any(check.verdict == "fail" for check in checks) else 0
