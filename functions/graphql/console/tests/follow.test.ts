import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { follow, type LiveResult, type ResumePoint } from "../src/api/follow.ts";

type Stream = { id: string | null; send: (text: string) => void };

let streams: Stream[] = [];
let shown: string[] = [];

const next = (id: string, body: object = { data: { n: id } }) =>
  `id: ${id}\nevent: next\ndata: ${JSON.stringify({ ...body, extensions: { lastEventId: id } })}\n\n`;
const failed = (code: string) =>
  `event: next\ndata: ${JSON.stringify({ errors: [{ message: code, extensions: { code } }] })}\n\n`;
const COMPLETE = "event: complete\ndata: \n\n";

const sink = {
  next: ({ data, errors }: LiveResult) => shown.push((data?.["n"] as string | undefined) ?? errors?.[0]?.message ?? ""),
  error: (reason: unknown) => shown.push(`error ${String(reason)}`),
  complete: () => shown.push("complete"),
  lost: () => shown.push("lost"),
  begun: (resumed: boolean) => shown.push(resumed ? "resumed" : "fresh"),
};

/** Wait until everything is done that needs no time. */
const settle = async () => {
  for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
};

const pass = async (milliseconds: number) => {
  await settle();
  mock.timers.tick(milliseconds);
  await settle();
};

const say = async (text: string) => {
  streams.at(-1)?.send(text);
  await settle();
};

beforeEach(() => {
  streams = [];
  shown = [];
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000_000 });
  mock.method(globalThis, "fetch", (_: unknown, init: RequestInit) => {
    let send: (text: string) => void = () => undefined;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        send = (text) => {
          if (text === "cut") controller.error(new Error("cut"));
          else controller.enqueue(new TextEncoder().encode(text));
        };
      },
    });
    streams.push({ id: new Headers(init.headers).get("Last-Event-ID"), send });
    return Promise.resolve(new Response(body));
  });
});

const none = () => Promise.resolve({});
const request = { query: "subscription { n }" };
const ids = () => streams.map(({ id }) => id);

test("a stream that the server ends because of its length goes on behind the last result", async () => {
  const stop = follow(request, none, sink);
  await settle();
  await say(next("1"));
  await pass(3_300_000);
  await say(":\n\n");
  await say(COMPLETE);
  await pass(1_000);
  await say(next("2"));
  assert.deepEqual(shown, ["fresh", "1", "resumed", "2"]);
  assert.deepEqual(ids(), [null, "1"]);
  stop();
});

test("a quiet stream goes on, too, when the server ends it because of its length", async () => {
  const stop = follow(request, none, sink);
  await pass(3_300_000);
  await say(COMPLETE);
  await pass(1_000);
  assert.deepEqual(shown, ["fresh", "fresh"]);
  stop();
});

test("a subscription ends when it has nothing more to send", async () => {
  follow(request, none, sink);
  await settle();
  await say(next("1") + COMPLETE);
  await pass(1_000);
  assert.deepEqual(ids(), [null, "1"]);
  await say("id: 1\n\n" + COMPLETE);
  await pass(60_000);
  assert.deepEqual(shown, ["fresh", "1", "resumed", "complete"]);
  assert.equal(streams.length, 2);
});

test("a subscription that is stopped while it waits does not begin again", async () => {
  const stop = follow(request, none, sink);
  await settle();
  await say(next("1") + COMPLETE);
  stop();
  await pass(1_000);
  assert.equal(streams.length, 1);
  assert.deepEqual(shown, ["fresh", "1"]);
});

test("a stream that fails resumes, and one that is refused does not", async () => {
  follow(request, none, sink);
  await settle();
  await say(next("1") + failed("SERVICE_UNAVAILABLE") + COMPLETE);
  await pass(1_000);
  await say(failed("FORBIDDEN") + COMPLETE);
  await pass(60_000);
  assert.deepEqual(shown, ["fresh", "1", "SERVICE_UNAVAILABLE", "lost", "resumed", "FORBIDDEN", "complete"]);
  assert.deepEqual(ids(), [null, "1"]);
});

test("a stream whose token expires goes on with a new one, and ends when that is not taken either", async () => {
  let token = 0;
  follow(request, () => Promise.resolve({ Authorization: `Bearer ${++token}` }), sink);
  await settle();
  await say(next("1"));
  await pass(3_000_000);
  await say(failed("UNAUTHENTICATED") + COMPLETE);
  await pass(1_000);
  assert.equal(token, 2);
  await say(failed("UNAUTHENTICATED") + COMPLETE);
  await pass(60_000);
  assert.deepEqual(shown, ["fresh", "1", "lost", "resumed", "UNAUTHENTICATED", "complete"]);
  assert.equal(streams.length, 2);
});

test("a lost connection resumes, also when at first there is no token", async () => {
  let offline = false;
  const headers = () => (offline ? Promise.reject(new Error("auth/network-request-failed")) : Promise.resolve({}));
  const stop = follow(request, headers, sink);
  await settle();
  await say(next("1"));
  offline = true;
  await say("cut");
  await pass(1_000);
  offline = false;
  await pass(1_000);
  await say(next("2"));
  assert.deepEqual(shown, ["fresh", "1", "lost", "lost", "resumed", "2"]);
  assert.deepEqual(ids(), [null, "1"]);
  stop();
});

test("a subscription begins at the present after minutes without a connection, and always if it should", async () => {
  const point: ResumePoint = {};
  const visit = async (resume: ResumePoint | null) => {
    const stop = follow(request, none, sink, resume);
    await settle();
    await say(next(String(streams.length)));
    stop();
  };
  await visit(point);
  await pass(60_000);
  await visit(point);
  await pass(600_000);
  await visit(point);
  await visit(null);
  await visit(null);
  assert.deepEqual(ids(), [null, "1", null, null, null]);
  assert.deepEqual(shown, ["fresh", "1", "resumed", "2", "fresh", "3", "fresh", "4", "fresh", "5"]);
});

test("an id that the server does not take is not sent again", async () => {
  const point: ResumePoint = { id: "9", heardAt: Date.now() };
  follow(request, none, sink, point);
  await settle();
  await say(failed("INVALID_INPUT") + COMPLETE);
  const stop = follow(request, none, sink, point);
  await settle();
  stop();
  assert.deepEqual(ids(), ["9", null]);
  assert.deepEqual(shown, ["resumed", "INVALID_INPUT", "complete", "fresh"]);
});
