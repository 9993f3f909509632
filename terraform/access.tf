# Which function may do what. Each has an account of its own, and nothing that isn't said here. Grants are on the resource
# itself wherever Google has such grants.

resource "google_service_account" "function" {
  for_each = local.functions

  account_id   = each.value.service_name
  display_name = "The function ${each.key}"

  depends_on = [google_project_service.api]
}

# Who can't sign in can still read the shop: GraphQL decides what each may do.
resource "google_cloud_run_v2_service_iam_member" "everybody" {
  for_each = { for name, function in local.functions : name => function if function.public }

  name     = google_cloud_run_v2_service.function[each.key].name
  location = var.region
  role     = "roles/run.invoker"
  member   = "allUsers"
}

# graphql sends the commands, and asks every function how it is (`serviceHealth`).
resource "google_cloud_run_v2_service_iam_member" "called_by_graphql" {
  for_each = { for name, function in local.functions : name => function if !function.public }

  name     = google_cloud_run_v2_service.function[each.key].name
  location = var.region
  role     = "roles/run.invoker"
  member   = "serviceAccount:${google_service_account.function["graphql"].email}"
}

# Charges, refunds, parcels.
resource "google_cloud_run_v2_service_iam_member" "calls_the_sandbox" {
  for_each = {
    for name, function in local.functions : name => function
    if function.calls == "payments" && var.payment_url == null || function.calls == "shipping" && var.shipping_url == null
  }

  name     = google_cloud_run_v2_service.function["sandbox_provider"].name
  location = var.region
  role     = "roles/run.invoker"
  member   = "serviceAccount:${google_service_account.function[each.key].email}"
}

# A real provider's key, for those alone who call it.
resource "google_secret_manager_secret_iam_member" "reads_its_key" {
  for_each = merge([
    for name, secrets in local.secrets : { for setting, secret in secrets : name => secret }
  ]...)

  secret_id = each.value
  role      = "roles/secretmanager.secretAccessor"
  member    = "serviceAccount:${google_service_account.function[each.key].email}"
}

locals {
  # What a kind of access publishes: an append the events of its streams, the saga its commands, the relay and an admin's
  # retry whatever was left.
  publishes = {
    commands       = local.event_topics
    sagas          = local.event_topics
    coordination   = setsubtract(local.consumed_topics, local.event_topics)
    relay          = local.consumed_topics
    administration = local.consumed_topics
    rebuilding     = local.event_topics
  }

  publishers = merge([
    for name, function in local.functions : {
      for topic in setunion([for access in function.access : lookup(local.publishes, access, toset([]))]...) :
      "${name}.${topic}" => { function = name, topic = topic }
    } if contains(function.uses, "pubsub")
  ]...)
}

# Tells of what it has done.
resource "google_pubsub_topic_iam_member" "publishes" {
  for_each = local.publishers

  topic  = google_pubsub_topic.topic[each.value.topic].name
  role   = "roles/pubsub.publisher"
  member = "serviceAccount:${google_service_account.function[each.value.function].email}"
}

locals {
  reaches_postgres = merge(
    { for name in keys(local.on_postgres) : name => google_service_account.function[name].email },
    { migrate = google_service_account.migrate.email },
  )
}

# Reaches PostgreSQL's machine through its volume. Google grants this on projects only; the condition names the one instance.
resource "google_project_iam_member" "reaches_postgres" {
  for_each = local.reaches_postgres

  project = var.project_id
  role    = "roles/cloudsql.client"
  member  = "serviceAccount:${each.value}"

  condition {
    title      = "only the shop's instance"
    expression = "resource.name == 'projects/${var.project_id}/instances/${google_sql_database_instance.postgres.name}' && resource.type == 'sqladmin.googleapis.com/Instance'"
  }
}

# Signs in there. Google grants this on projects only, too. It opens no instance that has no user for the account, and what the user may do is PostgreSQL's to say.
resource "google_project_iam_member" "signs_in_to_postgres" {
  for_each = local.reaches_postgres

  project = var.project_id
  role    = "roles/cloudsql.instanceUser"
  member  = "serviceAccount:${each.value}"
}

# Projections keep the read models, and rebuilding makes new ones; whoever else uses Firestore only looks. The condition names the one database.
resource "google_project_iam_member" "uses_read_models" {
  for_each = local.on_firestore

  project = var.project_id
  role    = length(setintersection(each.value.access, ["projections", "rebuilding"])) > 0 ? "roles/datastore.user" : "roles/datastore.viewer"
  member  = "serviceAccount:${google_service_account.function[each.key].email}"

  condition {
    title      = "only the read models"
    expression = "resource.name == 'projects/${var.project_id}/databases/${google_firestore_database.read_models.name}'"
  }
}

# Sends spans. There is no trace to grant it on: Google has this for projects only.
resource "google_project_iam_member" "traces" {
  for_each = local.functions

  project = var.project_id
  role    = "roles/cloudtrace.agent"
  member  = "serviceAccount:${google_service_account.function[each.key].email}"
}

# Writes what it has measured. For projects only, like the one above.
resource "google_project_iam_member" "reports_metrics" {
  for_each = { for name, function in local.functions : name => function if contains(function.access, "reporting") }

  project = var.project_id
  role    = "roles/monitoring.metricWriter"
  member  = "serviceAccount:${google_service_account.function[each.key].email}"
}

# Says how many messages wait for each function (`systemTopology`), which is Cloud Monitoring's to know.
resource "google_project_iam_member" "reads_metrics" {
  for_each = { for name, function in local.functions : name => function if function.public }

  project = var.project_id
  role    = "roles/monitoring.viewer"
  member  = "serviceAccount:${google_service_account.function[each.key].email}"
}
