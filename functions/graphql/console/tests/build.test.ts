import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const PAGES = ["index.html", "graphiql.html"];

for (const page of PAGES) {
  test(`${page} has no script or style of its own, which its Content-Security-Policy forbids`, () => {
    const text = readFileSync(page, "utf8");
    assert.doesNotMatch(text, /<style|style=|<script(?![^>]*src=)|\son\w+=/);
    assert.match(text, /<!-- files -->/);
  });
}
