import { once } from "node:events";
import { type AddressInfo, type Socket, connect, createServer } from "node:net";
import type { Scope } from "../harness/scope.ts";

/** A message of PostgreSQL's protocol on its way through. */
export interface Message {
  from: "client" | "server";
  /** Its type byte; a connection's first message has none and is called startup. */
  type: string;
  /** What a Query or Parse asks for; what a CommandComplete says; else empty. */
  text: string;
  /** The client's last statement: what the message belongs to. */
  statement: string;
  /** How many messages with data the client has sent since it began to COPY. */
  copied: number;
}

/** A connection that is held at a message, which is not delivered, nor is anything after it. */
export interface Held {
  /** Delivers all that was held, and the end of the connection if it has come. */
  release: () => void;
  /** Breaks the connection off on both sides; what was held is lost. */
  cut: () => void;
}

/** A proxy in front of PostgreSQL that understands what passes, and can hold it. */
export interface Tap {
  /** The server's address, by way of the tap. */
  url: string;
  /** Holds the first connection on which such a message comes by from now on. */
  holdAt(isIt: (message: Message) => boolean): Promise<Held>;
  /** Forgets what `holdAt` still waits for. */
  pass(): void;
  /** The process that serves the newest connection; undefined until the server has named it. */
  backendPid(): number | undefined;
  /** What passed last, for a person; `at` as Date.now() gives it. */
  last(): { what: string; at: number };
}

interface Connection {
  client: Socket;
  server: Socket;
  statement: string;
  copied: number;
  held: PromiseWithResolvers<undefined> | undefined;
}

interface Frame {
  type: string;
  bytes: Buffer;
}

const INT = 4;

/** Starts a tap on 127.0.0.1, closed at the end of `scope`, in front of the server of a URL. */
export async function startTap(scope: Scope, targetUrl: string): Promise<Tap> {
  const target = new URL(targetUrl);
  const connections = new Set<Connection>();
  let isIt: ((message: Message) => boolean) | undefined;
  let arrival = Promise.withResolvers<Held>();
  let backendPid: number | undefined;
  let last = { what: "nothing", at: 0 };

  function watch(connection: Connection, from: Message["from"], frame: Frame): void {
    const message = messageOf(connection, from, frame);
    if (frame.type === "K" && from === "server") backendPid = frame.bytes.readInt32BE(1 + INT);
    if (from === "client") last = { what: nameOf(message), at: Date.now() };
    if (isIt?.(message) !== true) return;
    isIt = undefined;
    connection.held = Promise.withResolvers();
    arrival.resolve({
      release: () => {
        release(connection);
      },
      cut: () => {
        cut(connection);
      },
    });
  }

  async function carry(connection: Connection, from: "client" | "server"): Promise<void> {
    const source = connection[from];
    const target = connection[from === "client" ? "server" : "client"];
    const framesOf = createFramer(from === "client");
    try {
      // The other direction may still be open.
      for await (const chunk of source.iterator({ destroyOnReturn: false })) {
        for (const frame of framesOf(chunk as Buffer)) {
          watch(connection, from, frame);
          await connection.held?.promise;
          await write(target, frame.bytes);
        }
      }
      await connection.held?.promise;
      target.end();
    } catch {
      await connection.held?.promise;
      target.resetAndDestroy();
    }
  }

  const listener = createServer({ allowHalfOpen: true }, (client) => {
    const server = connect({
      host: target.hostname,
      port: Number(target.port || 5432),
      allowHalfOpen: true,
    });
    const connection = { client, server, statement: "", copied: 0, held: undefined };
    connections.add(connection);
    for (const socket of [client, server]) {
      socket.setNoDelay();
      socket.on("error", () => undefined); // `carry` meets the same error
    }
    void Promise.all([carry(connection, "client"), carry(connection, "server")]).then(() =>
      connections.delete(connection),
    );
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  scope.after(async () => {
    const closed = once(listener, "close");
    listener.close();
    for (const connection of connections) cut(connection);
    await closed;
  });

  const url = new URL(target);
  url.hostname = "127.0.0.1";
  url.port = String((listener.address() as AddressInfo).port);
  return {
    url: url.href,
    holdAt(matches) {
      isIt = matches;
      arrival = Promise.withResolvers();
      return arrival.promise;
    },
    pass() {
      isIt = undefined;
    },
    backendPid: () => backendPid,
    last: () => last,
  };
}

function release(connection: Connection): void {
  connection.held?.resolve(undefined);
  connection.held = undefined;
}

function cut(connection: Connection): void {
  connection.client.resetAndDestroy();
  connection.server.resetAndDestroy();
  release(connection);
}

/** Cuts a stream into messages; only what a client sends first has no type byte. */
function createFramer(isClient: boolean): (chunk: Buffer) => Generator<Frame> {
  let rest = Buffer.alloc(0);
  let isFirst = isClient;
  return function* framesOf(chunk) {
    rest = Buffer.concat([rest, chunk]);
    for (;;) {
      const typeBytes = isFirst ? 0 : 1;
      if (rest.length < typeBytes + INT) return;
      const end = typeBytes + rest.readInt32BE(typeBytes);
      if (rest.length < end) return;
      const type = isFirst ? "startup" : String.fromCharCode(rest[0] as number);
      const bytes = rest.subarray(0, end);
      rest = rest.subarray(end);
      isFirst = false;
      yield { type, bytes };
    }
  };
}

function messageOf(connection: Connection, from: Message["from"], { type, bytes }: Frame): Message {
  const text = textOf(from, type, bytes);
  if (from === "client" && text !== "") {
    connection.statement = text;
    connection.copied = 0;
  }
  if (from === "client" && type === "d") connection.copied++;
  const { statement, copied } = connection;
  return { from, type, text, statement, copied };
}

function textOf(from: Message["from"], type: string, bytes: Buffer): string {
  const strings = () => bytes.toString("utf8", 1 + INT).split("\0");
  if (from === "server") return type === "C" ? (strings()[0] ?? "") : "";
  if (type === "Q") return strings()[0] ?? "";
  return type === "P" ? (strings()[1] ?? "") : ""; // behind the name of the statement
}

/** What a client is at, in short: the function it calls, or the first word. */
function nameOf({ type, statement }: Message): string {
  if (type === "X") return "end of session";
  if (statement === "") return "begin of session";
  return /tickets\.\w+(?=\()/.exec(statement)?.[0] ?? /^\w+/.exec(statement)?.[0] ?? statement;
}

/** Writes and waits until the bytes have left, so that a slow reader slows the writer. */
async function write(to: Socket, bytes: Buffer): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    to.write(bytes, (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}
