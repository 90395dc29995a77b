"""A client of libpq 18 that has a token at hand: OAUTHBEARER as libpq speaks it.

    oauthbearer.py CONNINFO TOKEN [SQL]
    oauthbearer.py CONNINFO -            without a token: libpq's own flow, where it has one

Prints the first row, fields separated by `|`, and ends with 0. A refusal is written to standard error, with its SQLSTATE
where the server has told one, and ends with 1. `--asked` before CONNINFO also prints what libpq wanted a token for: the
address of the discovery document and the scope.
"""

import ctypes
import glob
import importlib.util
import os
import select
import sys

OAUTH_BEARER_TOKEN = 1
CONNECTION_OK = 0
POLLING_FAILED, POLLING_READING, POLLING_WRITING, POLLING_OK = range(4)
ERRORS_VERBOSE = 2
TUPLES_OK = 2


class BearerRequest(ctypes.Structure):
    """PGoauthBearerRequest: two inputs, four outputs."""

    _fields_ = [
        ("openid_configuration", ctypes.c_char_p),
        ("scope", ctypes.c_char_p),
        ("poll", ctypes.c_void_p),
        ("cleanup", ctypes.c_void_p),
        ("token", ctypes.c_char_p),
        ("user", ctypes.c_void_p),
    ]


HOOK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(BearerRequest))

NUMBER, POINTER, TEXT = ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p
# What each returns, and what it takes.
FUNCTIONS = {
    "PQsetAuthDataHook": (None, HOOK),
    "PQconnectStart": (POINTER, TEXT),
    "PQconnectPoll": (NUMBER, POINTER),
    "PQsetErrorVerbosity": (NUMBER, POINTER, NUMBER),
    "PQsocket": (NUMBER, POINTER),
    "PQstatus": (NUMBER, POINTER),
    "PQerrorMessage": (TEXT, POINTER),
    "PQexec": (POINTER, POINTER, TEXT),
    "PQresultStatus": (NUMBER, POINTER),
    "PQresultErrorMessage": (TEXT, POINTER),
    "PQnfields": (NUMBER, POINTER),
    "PQgetvalue": (TEXT, POINTER, NUMBER, NUMBER),
    "PQclear": (None, POINTER),
    "PQfinish": (None, POINTER),
}


def main():
    arguments = sys.argv[1:]
    asked = arguments[:1] == ["--asked"]
    if asked:
        del arguments[0]
    conninfo, token, *sql = arguments
    libpq = load()
    # Referenced from here for as long as libpq may call it.
    hook = HOOK(hook_with(token.encode(), asked))
    if token != "-":
        libpq.PQsetAuthDataHook(hook)
    connection = connect(libpq, conninfo)
    result = libpq.PQexec(connection, (sql or ["select current_user"])[0].encode())
    if libpq.PQresultStatus(result) != TUPLES_OK:
        fail(libpq.PQresultErrorMessage(result))
    fields = range(libpq.PQnfields(result))
    print("|".join(libpq.PQgetvalue(result, 0, field).decode() for field in fields))
    libpq.PQclear(result)
    libpq.PQfinish(connection)


def hook_with(token, asked):
    def hook(kind, _connection, request):
        if kind != OAUTH_BEARER_TOKEN:
            return 0
        if asked:
            print((request.contents.openid_configuration or b"").decode())
            print((request.contents.scope or b"").decode(), flush=True)
        # Ours, and there until the end: libpq frees nothing without a cleanup of ours.
        request.contents.token = token
        return 1

    return hook


def connect(libpq, conninfo):
    """Step by step: between them there is a connection to ask for errors with their SQLSTATE."""
    connection = libpq.PQconnectStart(conninfo.encode())
    libpq.PQsetErrorVerbosity(connection, ERRORS_VERBOSE)
    state = POLLING_WRITING
    while state not in (POLLING_OK, POLLING_FAILED):
        wait(libpq.PQsocket(connection), state)
        state = libpq.PQconnectPoll(connection)
    if libpq.PQstatus(connection) != CONNECTION_OK:
        fail(libpq.PQerrorMessage(connection))
    return connection


def wait(socket, state):
    if socket < 0:
        return
    reading = [socket] if state == POLLING_READING else []
    writing = [socket] if state == POLLING_WRITING else []
    if not any(select.select(reading, writing, [], 20)):
        fail(b"nothing happened for 20 seconds")


def fail(message):
    sys.exit(message.decode().strip())


def load():
    """The libpq that psycopg has brought: no other on the machine need be so new."""
    package = os.path.dirname(importlib.util.find_spec("psycopg_binary").origin)
    (path,) = glob.glob(os.path.join(package + ".libs", "libpq-*.so*"))
    libpq = ctypes.CDLL(path)
    if libpq.PQlibVersion() < 180000:
        fail(f"libpq {libpq.PQlibVersion()} does not speak OAUTHBEARER".encode())
    for name, (result, *arguments) in FUNCTIONS.items():
        function = getattr(libpq, name)
        function.restype, function.argtypes = result, arguments
    return libpq


main()
