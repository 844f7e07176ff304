"""A TCP proxy that forwards to a PostgreSQL server and can cut a connection just before an answer."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable
from typing import Self

PIECE = 1 << 16


class CuttingProxy:
    """Forwards bytes both ways. What a client sends is shown to `cuts`; when that says so, the server still gets it,
    but its answer goes nowhere and the client's connection is reset.
    """

    def __init__(self, host: str, port: int, cuts: Callable[[bytes], bool]) -> None:
        self._target = host, port
        self._cuts = cuts
        self._lock = threading.Lock()
        self.count = 0
        self.limit = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(self._target) as server:
            while not self._closing:
                readable, _, _ = select.select([client, server], [], [], 0.5)
                for source in readable:
                    data = source.recv(PIECE)
                    if not data:
                        return
                    if source is server:
                        client.sendall(data)
                        continue
                    with self._lock:
                        cut = self._cuts(data)
                        self.count += cut
                    server.sendall(data)
                    if cut:
                        server.recv(1)  # the server has done it and has begun to answer
                        return
