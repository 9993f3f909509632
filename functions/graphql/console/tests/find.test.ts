import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";

import { find } from "../src/shell/find.ts";

const ORDER = "01a2238a-5c99-704a-8bb1-88574a01e89d";

/** A server that knows one order and one product, and the names of the queries that it was asked. */
const server = () => {
  const asked: string[] = [];
  mock.method(globalThis, "fetch", (_: unknown, init: { body: string }) => {
    const { operationName } = JSON.parse(init.body) as { operationName: string };
    asked.push(operationName);
    const order = { node: { id: ORDER, status: "CONFIRMED" } };
    const known: Record<string, unknown> = {
      RecentOrders: { ordersConnection: { edges: [order] } },
      FindByName: { searchProducts: [{ id: "7", name: "a lamp" }], searchCategories: [] },
      FindByCustomer: { ordersConnection: { edges: [order] } },
    };
    const headers = { "Content-Type": "application/json" };
    return Promise.resolve(new Response(JSON.stringify({ data: known[operationName] }), { headers }));
  });
  return asked;
};

afterEach(() => mock.restoreAll());

test("the orders of a user are asked for only by those who may see them", async () => {
  const asked = server();
  const { found } = await find("lamp", () => false);
  assert.deepEqual(
    found.map(({ what }) => what),
    ["product"],
  );
  assert.deepEqual(asked, ["FindByName"]);
  const own = await find("hanako", (userId) => userId === "hanako");
  assert.ok(own.found.some(({ href }) => href === "/orders?user=hanako"));
});

test("the end of an id that none of the newest orders has is said to be searched among these only", async () => {
  server();
  const known = await find("…4a01e89d", () => false);
  assert.deepEqual([known.found.map(({ href }) => href), known.recent], [[`/orders/${ORDER}`], undefined]);
  assert.equal((await find("0badc0de", () => false)).recent, true);
  assert.equal((await find("12345678", () => false)).recent, true);
  assert.equal((await find("lamp", () => false)).recent, false);
});
