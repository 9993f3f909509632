import { type Elsewhere } from "../session/config.ts";

/** Where the logs and traces of something are: a page of Google Cloud, or what to type on a developer's machine. */
export type Place = { href: string } | { command: string };

const CONSOLE = "https://console.cloud.google.com";

const logs = (project: string, query: string): Place => ({
  href: `${CONSOLE}/logs/query;query=${encodeURIComponent(query)}?project=${encodeURIComponent(project)}`,
});

/** Return where a function's log is; undefined where that is unknown. */
export const logOfFunction = (where: Elsewhere, name: string): Place | undefined => {
  if (where.cloudProject) {
    const of = `shop-${name.replaceAll("_", "-")}`;
    return logs(where.cloudProject, `resource.type="cloud_run_revision"\nresource.labels.service_name="${of}"`);
  }
  return where.logFolder ? { command: `scripts/logs ${name}` } : undefined;
};

/** Return where all lines about one request are, in every function's log. */
export const logOfRequest = (where: Elsewhere, correlationId: string): Place | undefined => {
  if (where.cloudProject) return logs(where.cloudProject, `jsonPayload.correlation_id="${correlationId}"`);
  return where.logFolder ? { command: `grep ${correlationId} ${where.logFolder}/*.log` } : undefined;
};

/** Return the page of a trace in Cloud Trace; undefined elsewhere. */
export const traceOf = (where: Elsewhere, traceId: string): Place | undefined =>
  where.cloudProject
    ? { href: `${CONSOLE}/traces/explorer;traceId=${traceId}?project=${encodeURIComponent(where.cloudProject)}` }
    : undefined;
