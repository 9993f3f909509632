import { Link } from "wouter";

import type { ResultOf } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { ActButton, send } from "../ui/act.tsx";
import { Answer } from "../ui/answer.tsx";
import { changedFields } from "../ui/changed.ts";
import { Cut } from "../ui/cut.tsx";
import { Filters, TextFilter } from "../ui/filters.tsx";
import { FormDialog } from "../ui/form.tsx";
import { Paged } from "../ui/paged.tsx";
import { pageOf } from "../ui/pager.tsx";
import { Table } from "../ui/table.tsx";
import { useUrl } from "../ui/use-url.ts";
import {
  CATEGORY_PAGE,
  CREATE_CATEGORY,
  DELETE_CATEGORY,
  OFFERED,
  SEARCH_CATEGORIES,
  SEARCHED,
  UPDATE_CATEGORY,
} from "./catalogue.ts";
import { type Option, withPresent } from "./options.ts";
import { inTree, withinOf } from "./tree.ts";
import { useCategories } from "./use-categories.ts";

/** Long enough that the whole tree of most shops is on one page. */
const LENGTH = 100;
const TOP = "top";

type Listed = NonNullable<ResultOf<typeof CATEGORY_PAGE>["categoriesConnection"]>["edges"][number]["node"];

const Categories = () => {
  const t = useT();
  const [url, change] = useUrl();
  const categories = useCategories();
  const term = url.get("search");
  const parent = term ? null : url.get("parent");
  const filter = parent === TOP ? { isTopLevel: true } : { parentId: parent };
  const listed = useAsk(CATEGORY_PAGE, { ...pageOf(url, LENGTH), filter }, { pause: Boolean(term) });
  const found = useAsk(SEARCH_CATEGORIES, { term: term ?? "", limit: SEARCHED + 1 }, { pause: !term });
  const again = () => {
    categories.again();
    (term ? found : listed).again();
  };
  const table = (rows: readonly Listed[]) => (
    <CategoryTable categories={rows} all={categories.all ?? []} options={categories.options} done={again} />
  );
  const unknown = categories.all ? t("category.unknown", { id: parent ?? "" }) : t("answer.loading");
  const parents = [{ value: TOP, label: t("category.top") }, ...categories.options];
  return (
    <>
      <div className="row between">
        <h1>{t("nav.categories")}</h1>
        <FormDialog
          key={categories.options.length}
          permission="admin"
          title={t("category.create")}
          fields={[
            { name: "name", label: t("name"), required: true },
            { name: "description", label: t("description"), type: "long" },
            { name: "parentId", label: t("category.parent"), options: categories.options },
          ]}
          run={({ name, description, parentId }) =>
            send(CREATE_CATEGORY, {
              input: { name: name ?? "", description: description || null, parentId: parentId || null },
            })
          }
          done={again}
        />
      </div>
      <Filters>
        <TextFilter name="search" label={t("filter.search")} />
        <label>
          {t("category.parent")}
          <select
            value={parent ?? ""}
            onChange={(event) =>
              change({ parent: event.target.value, search: undefined, after: undefined, before: undefined }, false)
            }
          >
            <option value="">{t("filter.all")}</option>
            {withPresent(parents, parent ? { value: parent, label: unknown } : undefined).map(({ value, label }) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
          </select>
        </label>
        <Cut of={categories.all} to={OFFERED} says="category.cut" />
      </Filters>
      {term ? (
        <Answer
          asked={found}
          isEmpty={({ searchCategories }) => searchCategories?.length === 0}
          empty={<p>{t("categories.noMatch")}</p>}
        >
          {({ searchCategories }) => (
            <>
              {table(searchCategories?.slice(0, SEARCHED) ?? [])}
              <Cut of={searchCategories} to={SEARCHED} says="list.cut" />
            </>
          )}
        </Answer>
      ) : (
        <Paged
          asked={listed}
          of={({ categoriesConnection }) => categoriesConnection}
          empty={<p>{t(parent ? "categories.noMatch" : "categories.none")}</p>}
        >
          {table}
        </Paged>
      )}
    </>
  );
};

type TableProps = {
  categories: readonly Listed[];
  all: readonly { id: string; name: string; parentId: string | null }[];
  options: readonly Option[];
  done: () => void;
};

const CategoryTable = ({ categories, all, options, done }: TableProps) => {
  const t = useT();
  return (
    <Table
      caption={t("nav.categories")}
      rows={inTree(categories)}
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
        {
          name: t("category.parent"),
          cell: ({ parentId, parent }) =>
            parentId && <Link href={`/categories?parent=${parentId}`}>{parent?.name ?? parentId}</Link>,
        },
        { name: t("description"), cell: ({ description }) => description ?? "" },
        { name: t("nav.products"), number: true, cell: ({ productCount }) => productCount ?? t("unknown") },
        {
          name: t("actions"),
          cell: (category) => (
            <span className="row">
              <Link className="button" href={`/events/${category.id}`}>
                {t("order.events")}
              </Link>
              <Change key={category.updatedAt} category={category} all={all} options={options} done={done} />
              <ActButton
                permission="admin"
                kind="danger"
                run={() => send(DELETE_CATEGORY, { id: category.id })}
                done={done}
                confirm={{ title: t("category.delete"), text: t("category.delete.what", { name: category.name }) }}
              >
                {t("category.delete")}
              </ActButton>
            </span>
          ),
        },
      ]}
    />
  );
};

type ChangeProps = Omit<TableProps, "categories"> & { category: Listed };

const Change = ({ category, all, options, done }: ChangeProps) => {
  const t = useT();
  const { id, name, parentId, parent } = category;
  const opened = { name, description: category.description ?? "", parentId: parentId ?? "" };
  const within = withinOf(all, id);
  const possible = options.filter(({ value }) => !within.has(value));
  const present = parentId ? { value: parentId, label: parent?.name ?? parentId } : undefined;
  return (
    <FormDialog
      permission="admin"
      title={t("category.change")}
      fields={[
        { name: "name", label: t("name"), required: true, value: name },
        { name: "description", label: t("description"), type: "long", value: opened.description },
        {
          name: "parentId",
          label: t("category.parent"),
          value: opened.parentId,
          options: withPresent(possible, present),
        },
      ]}
      run={(given) => send(UPDATE_CATEGORY, { id, input: changedFields(opened, given) })}
      done={done}
    />
  );
};

export default Categories;
