import { once } from "node:events";
import { type AddressInfo, type Socket, connect, createServer } from "node:net";
import type { Scope } from "./scope.ts";

const DEFAULT_PORTS: Record<string, number> = {
  "http:": 80,
  "postgres:": 5432,
  "postgresql:": 5432,
};

/** A bad network between the program and a server. What it does, it does to all connections. */
export interface Proxy {
  /** The server's address, by way of the proxy: same user, password and database. */
  url: string;
  /** Lets nothing through any more, neither bytes nor ends of connections, and closes nothing. */
  freeze(): void;
  /** Lets everything through again, what was held back first. */
  thaw(): void;
  /** Resets the connections, on both sides. New ones are welcome. */
  reset(): void;
  /**
   * Resets the connections once the clients have sent so many bytes more: these still reach the
   * server. It happens once; new connections are welcome afterwards.
   */
  resetAfter(bytes: number): void;
  /** Breaks the connections off and takes no more: connecting is refused from now on. */
  close(): Promise<void>;
}

/** A TCP proxy on 127.0.0.1, closed at the end of `scope`, in front of the server of a URL. */
export async function startProxy(scope: Scope, targetUrl: string): Promise<Proxy> {
  const target = new URL(targetUrl);
  const sockets = new Set<Socket>();
  let frozen: PromiseWithResolvers<undefined> | undefined;
  let bytesUntilReset = Infinity;

  function thaw(): void {
    frozen?.resolve(undefined);
    frozen = undefined;
  }

  function reset(): void {
    for (const socket of sockets) socket.resetAndDestroy();
  }

  /** The part of `chunk` that may pass. */
  function withinLimit(chunk: Buffer): Buffer {
    const part = chunk.subarray(0, Math.min(chunk.length, bytesUntilReset));
    bytesUntilReset -= part.length;
    return part;
  }

  async function sendToServer(server: Socket, chunk: Buffer): Promise<void> {
    await write(server, withinLimit(chunk));
    if (bytesUntilReset > 0) return;
    bytesUntilReset = Infinity;
    reset();
  }

  /** Carries one direction of a connection, and then its end as it came: orderly or broken. */
  async function carry(from: Socket, to: Socket, send: typeof write): Promise<void> {
    try {
      // The other direction may still be open.
      for await (const chunk of from.iterator({ destroyOnReturn: false })) {
        await frozen?.promise;
        await send(to, chunk as Buffer);
      }
      await frozen?.promise;
      to.end();
    } catch {
      await frozen?.promise;
      to.resetAndDestroy();
    }
  }

  function track(socket: Socket): void {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    // `carry` meets the same error.
    socket.on("error", () => undefined);
  }

  const listener = createServer({ allowHalfOpen: true }, (client) => {
    const server = connect({ ...addressOf(target), allowHalfOpen: true });
    track(client);
    track(server);
    void carry(client, server, sendToServer);
    void carry(server, client, write);
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");

  async function close(): Promise<void> {
    const closed = new Promise((resolve) => listener.close(resolve));
    for (const socket of sockets) socket.destroy();
    thaw();
    await closed;
  }
  scope.after(close);

  return {
    url: urlBy(target, listener.address() as AddressInfo),
    freeze() {
      frozen ??= Promise.withResolvers();
    },
    thaw,
    reset,
    resetAfter(bytes) {
      bytesUntilReset = bytes;
    },
    close,
  };
}

function addressOf({ hostname, port, protocol }: URL): { host: string; port: number } {
  return {
    host: hostname.replace(/^\[(.*)\]$/, "$1"), // IPv6
    port: port === "" ? (DEFAULT_PORTS[protocol] ?? 0) : Number(port),
  };
}

function urlBy(target: URL, { address, port }: AddressInfo): string {
  const url = new URL(target);
  url.hostname = address;
  url.port = String(port);
  return url.href;
}

/** Writes and waits until the bytes have left, so that a slow reader slows the writer. */
async function write(to: Socket, chunk: Buffer): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    to.write(chunk, (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}
