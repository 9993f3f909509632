import assert from "node:assert/strict";
import { test } from "node:test";

import { changed } from "../src/ui/address.ts";

test("a changed address keeps its other parameters", () => {
  const search = "?group=query&databases=1";
  assert.equal(changed(search, { function: "project_orders" }), "?group=query&databases=1&function=project_orders");
  assert.equal(changed(search, { group: undefined, databases: "" }), "");
  assert.equal(search, "?group=query&databases=1");
  const parameters = new URLSearchParams(search);
  changed(parameters, { group: undefined });
  assert.equal(parameters.get("group"), "query");
});
