"""A proxy between agents and the coordinator that ends TLS on both sides and keeps what the agents send.

Only a test that holds both parties' private keys can do this. Runs in a thread of its own.
"""

import asyncio
import ssl
import threading


class CapturingProxy:
    """Poses as the coordinator to one site, and as the site to the coordinator."""

    def __init__(self, coordinator_identity, site_identity, upstream_port):
        self.sent_by_site = bytearray()
        self._upstream_port = upstream_port
        self._server_context = self._context(ssl.PROTOCOL_TLS_SERVER, coordinator_identity)
        self._server_context.verify_mode = ssl.CERT_REQUIRED
        self._client_context = self._context(ssl.PROTOCOL_TLS_CLIENT, site_identity)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._relay, "127.0.0.1", 0, ssl=self._server_context), self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]

    @staticmethod
    def _context(protocol, identity):
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(identity / "certificate.pem", identity / "tls.key")
        context.load_verify_locations(identity / "root.pem")
        context.set_alpn_protocols(["h2"])
        return context

    async def _relay(self, reader, writer):
        up_reader, up_writer = await asyncio.open_connection(
            "127.0.0.1", self._upstream_port, ssl=self._client_context, server_hostname="127.0.0.1")

        async def copy(source, target, keep):
            try:
                while data := await source.read(65536):
                    if keep is not None:
                        keep.extend(data)
                    target.write(data)
                    await target.drain()
            except (ConnectionError, ssl.SSLError):
                pass
            finally:
                target.close()

        await asyncio.gather(copy(reader, up_writer, self.sent_by_site), copy(up_reader, writer, None))

    def close(self):
        async def stop():
            self._server.close()
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()
        asyncio.run_coroutine_threadsafe(stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
