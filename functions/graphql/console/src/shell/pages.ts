import type { Key } from "../i18n/catalogue.ts";
import type { Config } from "../session/config.ts";

type Page = { path: string; name: Key };

const LAB: Page = { path: "/lab", name: "nav.lab" };

const PAGES: readonly Page[] = [
  { path: "/", name: "nav.overview" },
  { path: "/orders", name: "nav.orders" },
  { path: "/products", name: "nav.products" },
  { path: "/categories", name: "nav.categories" },
  { path: "/shop", name: "nav.shop" },
  { path: "/sagas", name: "nav.sagas" },
  { path: "/events", name: "nav.events" },
  { path: "/messages", name: "nav.messages" },
  { path: "/dead-letters", name: "nav.deadLetters" },
  { path: "/read-models", name: "nav.readModels" },
  { path: "/topology", name: "nav.topology" },
  { path: "/executions", name: "nav.executions" },
  LAB,
  { path: "/audit", name: "nav.audit" },
  { path: "/glossary", name: "nav.glossary" },
];

/** Return the pages that lists of pages offer. The fault lab is only offered where there is one. */
export const pagesOf = ({ faultLab }: Pick<Config, "faultLab">): readonly Page[] =>
  PAGES.filter((page) => faultLab || page !== LAB);

export const isAt = (location: string, path: string): boolean =>
  path === "/" ? location === "/" : location === path || location.startsWith(`${path}/`);

/** Return the name of the page at an address, offered or not; undefined where there is none. */
export const nameAt = (location: string): Key | undefined => PAGES.find(({ path }) => isAt(location, path))?.name;
