import assert from "node:assert/strict";
import { test } from "node:test";

import { nameAt, pagesOf } from "../src/shell/pages.ts";

test("the fault lab is offered only where there is one", () => {
  const paths = (faultLab: boolean) => pagesOf({ faultLab }).map(({ path }) => path);
  assert.ok(paths(true).includes("/lab"));
  assert.deepEqual(
    paths(true).filter((path) => !paths(false).includes(path)),
    ["/lab"],
  );
});

test("a page has its name at its address and below it", () => {
  assert.equal(nameAt("/"), "nav.overview");
  assert.equal(nameAt("/orders/1"), "nav.orders");
  assert.equal(nameAt("/lab"), "nav.lab");
  assert.equal(nameAt("/ordersX"), undefined);
});
