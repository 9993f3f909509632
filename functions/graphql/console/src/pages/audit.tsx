import { Link } from "wouter";

import { graphql } from "../api/graphql.ts";
import { PAGE_INFO } from "../api/page-info.ts";
import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { Reported } from "../i18n/said.tsx";
import { session } from "../session/session.ts";
import { useViewer } from "../session/viewer.tsx";
import { Status } from "../ui/badge.tsx";
import { Button } from "../ui/button.tsx";
import { Filters, TextFilter } from "../ui/filters.tsx";
import { Paged } from "../ui/paged.tsx";
import { pageOf } from "../ui/pager.tsx";
import { Table } from "../ui/table.tsx";
import { Time } from "../ui/time.tsx";
import { useUrl } from "../ui/use-url.ts";

const AUDIT = graphql(`
  query Audit($first: Int, $after: String, $last: Int, $before: String, $by: String) {
    operatorActionsConnection(first: $first, after: $after, last: $last, before: $before, by: $by) {
      pageInfo {
        ...PageOfConnection
      }
      edges {
        node {
          id
          at
          by
          action
          detail
          target
          reason
          status
          error
        }
      }
    }
  }
`, [PAGE_INFO]);

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const placeOf = (action: string, target: string): string | undefined => {
  if (!UUID.test(target)) return undefined;
  return action.endsWith("Saga") ? `/orders/${target}` : `/dead-letters?id=${target}`;
};

const Audit = () => {
  const t = useT();
  const viewer = useViewer();
  if (viewer.may("admin")) return <Actions />;
  return (
    <>
      <h1>{t("nav.audit")}</h1>
      <p>{t("audit.admins")}</p>
      {viewer.mayAfterSignIn("admin") && (
        <Button kind="main" onClick={() => void session.ask("admin")}>
          {t("person.in")}
        </Button>
      )}
    </>
  );
};

/** Every operator's action: who, what, when, why. */
const Actions = () => {
  const t = useT();
  const [url] = useUrl();
  const asked = useAsk(AUDIT, { ...pageOf(url), by: url.get("by") }, { every: 10_000 });
  return (
    <>
      <h1>{t("nav.audit")}</h1>
      <p className="note">{t("audit.note")}</p>
      <Filters>
        <TextFilter name="by" label={t("audit.who")} />
      </Filters>
      <Paged
        asked={asked}
        of={({ operatorActionsConnection }) => operatorActionsConnection}
        empty={<p>{t(url.has("by") ? "audit.noMatch" : "audit.none")}</p>}
      >
        {(actions) => (
          <Table
            caption={t("nav.audit")}
            rows={actions}
            keyOf={({ id }) => id}
            columns={[
              { name: t("time"), cell: ({ at }) => <Time at={at} /> },
              { name: t("audit.who"), cell: ({ by }) => by },
              { name: t("audit.action"), cell: ({ action, detail }) => [action, detail].filter(Boolean).join(": ") },
              {
                name: t("letters.subject"),
                cell: ({ action, target }) => {
                  const href = placeOf(action, target ?? "");
                  return href ? <Link href={href}>{target}</Link> : target;
                },
              },
              { name: t("order.reason"), cell: ({ reason }) => <span className="break">{reason}</span> },
              { name: t("status"), cell: ({ status }) => <Status of={status} /> },
              { name: t("error"), cell: ({ error }) => error && <Reported text={error} /> },
            ]}
          />
        )}
      </Paged>
    </>
  );
};

export default Audit;
