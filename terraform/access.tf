# The rights of each function. Each has its own service account, with only the rights granted here. Grants are on the
# resource itself wherever Google supports that.

resource "google_service_account" "function" {
  for_each = local.functions

  account_id   = each.value.service_name
  display_name = "The function ${each.key}"

  depends_on = [google_project_service.api]
}

# graphql sends the commands, and asks every function for its health (`serviceHealth`). Cloud Run cannot grant single paths, so
# functions that are no commands themselves refuse graphql on every path but health and metrics (`callers` in functions.tf).
resource "google_cloud_run_v2_service_iam_member" "called_by_graphql" {
  for_each = { for name, function in local.functions : name => function if !function.public }

  name     = google_cloud_run_v2_service.function[each.key].name
  location = var.region
  role     = "roles/run.invoker"
  member   = "serviceAccount:${google_service_account.function["graphql"].email}"
}

# Saga steps call the sandbox for charges, refunds and parcels.
resource "google_cloud_run_v2_service_iam_member" "calls_the_sandbox" {
  for_each = local.calls_the_sandbox

  name     = google_cloud_run_v2_service.function["sandbox_provider"].name
  location = var.region
  role     = "roles/run.invoker"
  member   = "serviceAccount:${google_service_account.function[each.key].email}"
}

# A real provider's key is readable only for the functions that call the provider.
resource "google_secret_manager_secret_iam_member" "reads_its_key" {
  for_each = merge([
    for name, secrets in local.secrets : { for setting, secret in secrets : name => secret }
  ]...)

  secret_id = each.value
  role      = "roles/secretmanager.secretAccessor"
  member    = "serviceAccount:${google_service_account.function[each.key].email}"
}

locals {
  # The topics that each kind of access publishes to: an append publishes the events of its streams, the saga its commands,
  # the relay and an admin's retry any message that was not published or delivered.
  publishes = {
    commands       = local.event_topics
    sagas          = local.event_topics
    coordination   = setsubtract(local.consumed_topics, local.event_topics)
    relay          = local.consumed_topics
    administration = local.consumed_topics
    rebuilding     = local.event_topics
    erasure        = local.event_topics
  }

  publishers = merge([
    for name, function in local.functions : {
      for topic in setunion([for access in function.access : lookup(local.publishes, access, toset([]))]...) :
      "${name}.${topic}" => { function = name, topic = topic }
    } if contains(function.uses, "pubsub")
  ]...)
}

# Publishes events and commands.
resource "google_pubsub_topic_iam_member" "publishes" {
  for_each = local.publishers

  topic  = google_pubsub_topic.topic[each.value.topic].name
  role   = "roles/pubsub.publisher"
  member = "serviceAccount:${google_service_account.function[each.value.function].email}"
}

# Signs in to PostgreSQL. Google grants this only on projects. It opens no instance without a user for the account, and
# PostgreSQL's roles decide what the user may do.
resource "google_project_iam_member" "signs_in_to_postgres" {
  for_each = merge(
    { for name in keys(local.on_postgres) : name => google_service_account.function[name].email },
    { migrate = google_service_account.migrate.email },
  )

  project = var.project_id
  role    = "roles/cloudsql.instanceUser"
  member  = "serviceAccount:${each.value}"
}

# Projections write the read models, and functions that rebuild them write the generations; other functions only read
# Firestore. The condition names the one database.
resource "google_project_iam_member" "uses_read_models" {
  for_each = local.on_firestore

  project = var.project_id
  role = (
    each.value.group == "projections" || contains(each.value.access, "rebuilding")
    ? "roles/datastore.user" : "roles/datastore.viewer"
  )
  member = "serviceAccount:${google_service_account.function[each.key].email}"

  condition {
    title      = "only the read models"
    expression = "resource.name == 'projects/${var.project_id}/databases/${google_firestore_database.read_models.name}'"
  }
}

# Sends spans. Google grants this only on projects, since a trace is not a resource.
resource "google_project_iam_member" "traces" {
  for_each = local.functions

  project = var.project_id
  role    = "roles/cloudtrace.agent"
  member  = "serviceAccount:${google_service_account.function[each.key].email}"
}

# Writes metrics. Google grants this only on projects, too.
resource "google_project_iam_member" "reports_metrics" {
  for_each = { for name, function in local.functions : name => function if contains(function.access, "reporting") }

  project = var.project_id
  role    = "roles/monitoring.metricWriter"
  member  = "serviceAccount:${google_service_account.function[each.key].email}"
}

# Reads each function's backlog from Cloud Monitoring (`systemTopology`).
resource "google_project_iam_member" "reads_metrics" {
  for_each = { for name, function in local.functions : name => function if function.public }

  project = var.project_id
  role    = "roles/monitoring.viewer"
  member  = "serviceAccount:${google_service_account.function[each.key].email}"
}
