import { Link } from "wouter";

import { graphql } from "../../api/graphql.ts";
import { useAsk } from "../../api/use-ask.ts";
import { useT } from "../../i18n/index.tsx";
import { Reported } from "../../i18n/said.tsx";
import { Answer } from "../../ui/answer.tsx";
import { Table } from "../../ui/table.tsx";
import { Ago } from "../../ui/time.tsx";
import { placeOf } from "../stuck-place.ts";

const CAUSES = graphql(`
  query DeadLetterCauses {
    deadLetterCauses {
      source
      type
      error
      count
      firstRecordedAt
      lastRecordedAt
    }
  }
`);

const EVERY_MS = 5_000;

/** The pending letters by what they have in common, the most frequent cause first. */
export const CauseGroups = () => {
  const t = useT();
  const asked = useAsk(CAUSES, {}, { every: EVERY_MS });
  return (
    <section className="panel">
      <h2>{t("letters.causes")}</h2>
      <Answer
        asked={asked}
        isEmpty={({ deadLetterCauses }) => deadLetterCauses?.length === 0}
        empty={<p className="fine">{t("letters.nonePending")}</p>}
      >
        {({ deadLetterCauses }) => (
          <Table
            caption={t("letters.causes")}
            rows={deadLetterCauses ?? []}
            keyOf={({ source, type, error }) => `${source} ${type ?? ""} ${error ?? ""}`}
            columns={[
              { name: t("letters.count"), number: true, cell: ({ count }) => count },
              { name: t("error"), cell: ({ error }) => (error ? <Reported text={error} /> : t("unknown")) },
              { name: t("messages.type"), cell: ({ type }) => type ?? "" },
              { name: t("letters.source"), cell: ({ source }) => <code>{source}</code> },
              { name: t("letters.first"), cell: ({ firstRecordedAt }) => <Ago at={firstRecordedAt} /> },
              {
                name: t("actions"),
                cell: (cause) => (
                  <Link className="button" href={placeOf("DEAD_LETTER", cause.source, cause).href}>
                    {t("letters.show")}
                  </Link>
                ),
              },
            ]}
          />
        )}
      </Answer>
    </section>
  );
};
