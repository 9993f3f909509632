import { useState } from "react";

import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { Reported } from "../i18n/said.tsx";
import { session } from "../session/session.ts";
import { useViewer } from "../session/viewer.tsx";
import { Button } from "../ui/button.tsx";
import { Choice, Filters, MomentFilter, TextFilter } from "../ui/filters.tsx";
import { momentIn } from "../ui/moments.ts";
import { Paged } from "../ui/paged.tsx";
import { pageOf } from "../ui/pager.tsx";
import { useUrl } from "../ui/use-url.ts";
import { CauseGroups } from "./letters/causes.tsx";
import { Letter } from "./letters/letter.tsx";
import { LETTERS } from "./letters/query.ts";
import { selectedUnder, type Selection } from "./letters/selection.ts";
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
        <Button kind="main" onClick={() => void session.ask("admin")}>
          {t("person.in")}
        </Button>
      )}
    </>
  );
};

const Letters = () => {
  const t = useT();
  const [url, change] = useUrl();
  const [selection, setSelection] = useState<Selection>({ under: "", ids: new Set() });
  const [source, type, error] = [url.get("source"), url.get("type"), url.get("error")];
  const cause = source !== null && error !== null ? { source, type, error: error || null } : null;
  const filter = {
    status: STATUSES.find((status) => status === url.get("status")) ?? null,
    ...(cause ? { cause } : { source, type }),
    subject: url.get("subject"),
    orderId: url.get("order"),
    correlationId: url.get("correlation"),
    recordedAfter: momentIn(url.get("from")),
    recordedBefore: momentIn(url.get("to")),
  };
  const asked = useAsk(LETTERS, { ...pageOf(url), filter }, { every: EVERY_MS });
  const under = JSON.stringify(filter);
  const listed = asked.data?.deadLettersConnection?.edges.map(({ node }) => node.id) ?? [];
  const selected = selectedUnder(selection, under, listed);
  const select = (ids: ReadonlySet<string>) => setSelection({ under, ids });
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
        <TextFilter name="subject" label={t("letters.subject")} hint={t("letters.subject.hint")} />
        <TextFilter name="order" label={t("orders.order")} hint={t("filter.id")} />
        <TextFilter name="correlation" label={t("events.correlation")} hint={t("filter.id")} />
        <MomentFilter name="from" label={t("filter.from")} />
        <MomentFilter name="to" label={t("filter.to")} />
      </Filters>
      {cause && (
        <div className="row center">
          <span>
            {t("letters.ofCause")} {cause.error ? <Reported text={cause.error} /> : t("unknown")}
          </span>
          <Button onClick={() => change({ source: undefined, type: undefined, error: undefined }, false)}>
            {t("letters.ofAllCauses")}
          </Button>
        </div>
      )}
      <Triage
        key={under}
        selected={selected}
        filter={filter}
        total={asked.failure ? undefined : asked.data?.deadLettersConnection?.totalCount}
        again={asked.again}
        done={() => select(new Set())}
      />
      <Paged
        asked={asked}
        of={({ deadLettersConnection }) => deadLettersConnection}
        empty={<p className="fine">{t("letters.none")}</p>}
      >
        {(letters) => (
          <LetterTable
            letters={letters}
            selected={selected}
            select={select}
            open={(chosen) => change({ id: chosen }, false)}
          />
        )}
      </Paged>
    </>
  );
};

export default DeadLetters;
