import { useState } from "react";

import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { session } from "../session/session.ts";
import { useViewer } from "../session/viewer.tsx";
import { Answer } from "../ui/answer.tsx";
import { Button } from "../ui/button.tsx";
import { Choice, Filters, MomentFilter, TextFilter } from "../ui/filters.tsx";
import { pageOf, Pager } from "../ui/pager.tsx";
import { useUrl } from "../ui/use-url.ts";
import { CauseGroups } from "./letters/causes.tsx";
import { Letter } from "./letters/letter.tsx";
import { LETTERS } from "./letters/query.ts";
import { LetterTable } from "./letters/table.tsx";
import { Triage } from "./letters/triage.tsx";

const STATUSES = ["PENDING", "RETRIED", "DISCARDED"] as const;
const EVERY_MS = 5_000;

const DeadLetters = () => {
  const t = useT();
  const viewer = useViewer();
  if (viewer.may("admin")) return <Letters />;
  return (
    <>
      <h1>{t("nav.deadLetters")}</h1>
      <p>{t("letters.admins")}</p>
      {viewer.mayAfterSignIn("admin") && (
        <Button kind="main" onClick={() => void session.ask()}>
          {t("person.in")}
        </Button>
      )}
    </>
  );
};

const Letters = () => {
  const t = useT();
  const [url, change] = useUrl();
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const filter = {
    status: STATUSES.find((status) => status === url.get("status")) ?? null,
    source: url.get("source"),
    type: url.get("type"),
    orderId: url.get("order"),
    correlationId: url.get("correlation"),
    recordedAfter: url.get("from"),
    recordedBefore: url.get("to"),
  };
  const asked = useAsk(LETTERS, { ...pageOf(url), filter }, { every: EVERY_MS });
  const id = url.get("id");
  return (
    <>
      <h1>{t("nav.deadLetters")}</h1>
      <CauseGroups />
      {id && <Letter id={id} close={() => change({ id: undefined })} done={asked.again} />}
      <Filters>
        <Choice name="status" label={t("status")} options={STATUSES} />
        <TextFilter name="source" label={t("letters.source")} />
        <TextFilter name="type" label={t("messages.type")} />
        <TextFilter name="order" label={t("orders.order")} hint={t("filter.id")} />
        <MomentFilter name="from" label={t("filter.from")} />
        <MomentFilter name="to" label={t("filter.to")} />
      </Filters>
      <Answer
        asked={asked}
        isEmpty={({ deadLettersConnection }) => deadLettersConnection?.edges.length === 0}
        empty={<p className="fine">{t("letters.none")}</p>}
      >
        {({ deadLettersConnection: found }) =>
          found && (
            <>
              <Triage
                selected={selected}
                filter={filter}
                total={found.totalCount ?? undefined}
                done={() => {
                  setSelected(new Set());
                  asked.again();
                }}
              />
              <LetterTable
                letters={found.edges.map(({ node }) => node)}
                selected={selected}
                select={setSelected}
                open={(chosen) => change({ id: chosen }, false)}
              />
              <Pager info={found.pageInfo} total={found.totalCount} />
            </>
          )
        }
      </Answer>
    </>
  );
};

export default DeadLetters;
