"""A slow line that breaks: relays bytes of TCP connections and aborts each one some time after it was opened."""

import asyncio
import threading

PIECE_BYTES = 16384


class CuttingProxy:
    """Between agents and the coordinator; what it relays stays encrypted. Runs in a thread of its own."""

    def __init__(self, upstream_port, bytes_per_second, cut_after_seconds):
        self.bytes_up = 0  # From agents to the coordinator, over all connections.
        self.bytes_down = 0
        self.num_cuts = 0
        self._upstream_port = upstream_port
        self._bytes_per_second = bytes_per_second
        self._cut_after_seconds = cut_after_seconds
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._relay, "127.0.0.1", 0, limit=PIECE_BYTES), self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]

    async def _relay(self, reader, writer):
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port, limit=PIECE_BYTES)
        copies = [asyncio.create_task(self._copy(reader, up_writer, "bytes_up")),
                  asyncio.create_task(self._copy(up_reader, writer, "bytes_down"))]
        try:
            _, pending = await asyncio.wait(copies, timeout=self._cut_after_seconds,
                                            return_when=asyncio.FIRST_EXCEPTION)
            if len(pending) == len(copies):  # Neither end has closed or lost it.
                self.num_cuts += 1
        finally:
            for copy in copies:
                copy.cancel()
            await asyncio.gather(*copies, return_exceptions=True)
            for end in (writer, up_writer):
                end.transport.abort()

    async def _copy(self, source, target, counter):
        target.transport.set_write_buffer_limits(high=PIECE_BYTES)
        free_at = self._loop.time()  # When the line has room for the next piece.
        while data := await source.read(PIECE_BYTES):
            free_at = max(free_at, self._loop.time()) + len(data) / self._bytes_per_second
            await asyncio.sleep(free_at - self._loop.time())
            target.write(data)
            setattr(self, counter, getattr(self, counter) + len(data))
            await target.drain()
        target.write_eof()

    def close(self):
        async def stop():
            self._server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        asyncio.run_coroutine_threadsafe(stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
