import { Link } from "wouter";

import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { ActButton, send } from "../ui/act.tsx";
import { Answer } from "../ui/answer.tsx";
import { FormDialog } from "../ui/form.tsx";
import { Table } from "../ui/table.tsx";
import { CATEGORIES, CREATE_CATEGORY, DELETE_CATEGORY, UPDATE_CATEGORY } from "./catalogue.ts";
import { inTree } from "./tree.ts";

const Categories = () => {
  const t = useT();
  const asked = useAsk(CATEGORIES, {});
  const all = asked.data?.categories ?? [];
  const parents = all.map(({ id, name }) => ({ value: id, label: name }));
  return (
    <>
      <div className="row between">
        <h1>{t("nav.categories")}</h1>
        <FormDialog
          key={all.length}
          permission="admin"
          title={t("category.create")}
          fields={[
            { name: "name", label: t("name"), required: true },
            { name: "description", label: t("description") },
            { name: "parentId", label: t("category.parent"), options: parents },
          ]}
          run={({ name, description, parentId }) =>
            send(CREATE_CATEGORY, {
              input: { name: name ?? "", description: description || null, parentId: parentId || null },
            })
          }
          done={asked.again}
        />
      </div>
      <Answer
        asked={asked}
        isEmpty={({ categories }) => categories?.length === 0}
        empty={<p>{t("categories.none")}</p>}
      >
        {({ categories }) => (
          <Table
            caption={t("nav.categories")}
            rows={inTree(categories ?? [])}
            keyOf={({ id }) => id}
            columns={[
              {
                name: t("category"),
                cell: ({ id, name, depth }) => (
                  <span>
                    {"— ".repeat(depth)}
                    <Link href={`/products?category=${id}`}>{name}</Link>
                  </span>
                ),
              },
              { name: t("description"), cell: ({ description }) => description ?? "" },
              { name: t("nav.products"), number: true, cell: ({ productCount }) => productCount ?? t("unknown") },
              {
                name: t("actions"),
                cell: ({ id, name, description }) => (
                  <span className="row">
                    <Link className="button" href={`/events/${id}`}>
                      {t("order.events")}
                    </Link>
                    <FormDialog
                      key={name}
                      permission="admin"
                      title={t("category.change")}
                      fields={[
                        { name: "name", label: t("name"), required: true, value: name },
                        { name: "description", label: t("description"), value: description ?? "" },
                      ]}
                      run={(given) =>
                        send(UPDATE_CATEGORY, {
                          id,
                          input: { name: given["name"], description: given["description"] || null },
                        })
                      }
                      done={asked.again}
                    />
                    <ActButton
                      permission="admin"
                      kind="danger"
                      run={() => send(DELETE_CATEGORY, { id })}
                      done={asked.again}
                      confirm={{ title: t("category.delete"), text: t("category.delete.what", { name }) }}
                    >
                      {t("category.delete")}
                    </ActButton>
                  </span>
                ),
              },
            ]}
          />
        )}
      </Answer>
    </>
  );
};

export default Categories;
