# What is planned from functions/manifest.yaml. No cloud is asked: every provider is a mock.

mock_provider "google" {
  override_during = plan

  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
  mock_resource "google_service_account" {
    defaults = { email = "somebody@shop-test-1.iam.gserviceaccount.com" }
  }
  mock_resource "google_sql_database_instance" {
    defaults = { private_ip_address = "10.20.0.3" }
  }
}

mock_provider "google-beta" {
  override_during = plan

  mock_resource "google_project_service_identity" {
    defaults = { member = "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com" }
  }
}

variables {
  project_id  = "shop-test-1"
  environment = "staging"
  admin_email = "admin@example.com"
  image       = "asia-northeast1-docker.pkg.dev/shop-test-1/shop/functions@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
}

override_resource {
  target          = google_service_account.push
  override_during = plan
  values          = { email = "push@shop-test-1.iam.gserviceaccount.com" }
}
override_resource {
  target          = google_service_account.scheduler
  override_during = plan
  values          = { email = "scheduler@shop-test-1.iam.gserviceaccount.com" }
}

# One plan for all of it: a plan takes seconds.
run "the_plan_follows_the_manifest" {
  command = plan

  # The services are the manifests.
  assert {
    condition     = keys(google_cloud_run_v2_service.function) == keys(local.manifest.functions)
    error_message = "a service for each entry and no other"
  }
  assert {
    condition = alltrue([
      for name, service in google_cloud_run_v2_service.function :
      { for env in service.template[0].containers[0].env : env.name => env.value }["FUNCTION_TARGET"] == name
    ])
    error_message = "each has its entry's name as its target"
  }
  assert {
    condition = alltrue([
      for service in google_cloud_run_v2_service.function :
      fileexists("${path.module}/../${ { for env in service.template[0].containers[0].env : env.name => env.value }["FUNCTION_SOURCE"]}")
    ])
    error_message = "each loads a file that is there"
  }
  assert {
    condition     = length(distinct([for service in google_cloud_run_v2_service.function : service.template[0].containers[0].image])) == 1
    error_message = "all run one image"
  }
  assert {
    condition = alltrue([
      for name, service in google_cloud_run_v2_service.function :
      tostring(service.template[0].max_instance_request_concurrency) == { for env in service.template[0].containers[0].env : env.name => env.value }["THREADS"]
    ])
    error_message = "as many threads as requests at once"
  }
  assert {
    condition = alltrue([
      for name, service in google_cloud_run_v2_service.function :
      service.template[0].timeout == "${try(local.manifest.functions[name].timeout_seconds, local.manifest.defaults.timeout_seconds)}s"
      && service.template[0].scaling[0].max_instance_count == try(local.manifest.functions[name].max_instances, local.manifest.defaults.max_instances)
      && service.scaling[0].max_instance_count == service.template[0].scaling[0].max_instance_count
      && service.template[0].containers[0].resources[0].limits.memory == try(local.manifest.functions[name].memory, local.manifest.defaults.memory)
    ])
    error_message = "limits are the entry's or the default"
  }
  assert {
    condition = alltrue([
      for service in google_cloud_run_v2_service.function :
      service.template[0].containers[0].resources[0].cpu_idle && service.template[0].containers[0].resources[0].startup_cpu_boost
      && service.template[0].containers[0].startup_probe[0].http_get[0].path == "/health/live"
      && service.template[0].containers[0].liveness_probe[0].http_get[0].path == "/health/live"
    ])
    error_message = "every service idles without a CPU, boosts its start and is probed without asking a database"
  }
  assert {
    condition     = length(distinct(values(google_service_account.function)[*].account_id)) == length(google_cloud_run_v2_service.function)
    error_message = "each has an account of its own"
  }
  assert {
    condition     = alltrue([for account in google_service_account.function : can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", account.account_id))])
    error_message = "an account's name has 6 to 30 characters"
  }

  # Only graphql can be reached from outside and by everybody.
  assert {
    condition = (
      keys(google_cloud_run_v2_service_iam_member.asked_for_readiness) == [for name in keys(local.manifest.functions) : name if name != "graphql"]
      && toset(keys(jsondecode({ for env in google_cloud_run_v2_job.readiness.template[0].template[0].containers[0].env : env.name => env.value }["FUNCTION_URLS"]))) == toset(keys(local.manifest.functions))
      && length(google_cloud_run_v2_job.readiness.template[0].template[0].vpc_access) == 1
    )
    error_message = "after a roll-out every function is asked from inside the network whether it is ready"
  }
  assert {
    condition     = [for name, service in google_cloud_run_v2_service.function : name if service.ingress != "INGRESS_TRAFFIC_INTERNAL_ONLY"] == ["graphql"]
    error_message = "only graphql takes requests from outside"
  }
  assert {
    condition     = [for name, service in google_cloud_run_v2_service.function : name if service.invoker_iam_disabled] == ["graphql"]
    error_message = "only graphql lets everybody in, and without a grant to allUsers"
  }
  assert {
    condition = !contains([
      for grant in concat(
        values(google_cloud_run_v2_service_iam_member.called_by_graphql), values(google_cloud_run_v2_service_iam_member.pushed_to),
        values(google_cloud_run_v2_service_iam_member.scheduled), values(google_cloud_run_v2_service_iam_member.calls_the_sandbox),
      ) : startswith(grant.member, "serviceAccount:")
    ], false)
    error_message = "all others are let in as service accounts"
  }
  assert {
    condition     = keys(google_cloud_run_v2_service_iam_member.called_by_graphql) == [for name in keys(local.manifest.functions) : name if name != "graphql"]
    error_message = "graphql may ask every other function"
  }

  # Every function knows who may call it and for which audience.
  override_resource {
    target          = google_service_account.scheduler
    override_during = plan
    values          = { email = "scheduler@shop-test-1.iam.gserviceaccount.com" }
  }

  assert {
    condition = alltrue([
      for name, service in google_cloud_run_v2_service.function :
      { for env in service.template[0].containers[0].env : env.name => env.value }["AUDIENCE"] == service.custom_audiences[0]
      && { for env in service.template[0].containers[0].env : env.name => env.value }["CALLERS"] == (
        try(local.manifest.functions[name].schedule, null) != null ? "scheduler@shop-test-1.iam.gserviceaccount.com" :
        length(try(local.manifest.functions[name].topics, [])) > 0 || try(local.manifest.functions[name].dead_letters, false) ? "push@shop-test-1.iam.gserviceaccount.com" :
        name != "sandbox_provider" ? "somebody@shop-test-1.iam.gserviceaccount.com" :
        join(" ", [for payer in range(6) : "somebody@shop-test-1.iam.gserviceaccount.com"])
      )
      if name != "graphql"
    ])
    error_message = "a push comes from the push account, a schedule from the scheduler, a command from graphql, a payment from the steps that pay, ship and notify, its faults from graphql"
  }
  assert {
    condition     = !contains([for env in google_cloud_run_v2_service.function["graphql"].template[0].containers[0].env : env.name], "CALLERS")
    error_message = "graphql answers every client"
  }
  assert {
    condition = alltrue([
      for name, subscription in google_pubsub_subscription.push :
      subscription.push_config[0].oidc_token[0].service_account_email == join(" ", local.callers[local.subscriptions[name].function])
    ])
    error_message = "every subscription pushes as the account that its function takes"
  }
  assert {
    condition     = alltrue([for name, job in google_cloud_scheduler_job.schedule : job.http_target[0].oidc_token[0].service_account_email == join(" ", local.callers[name])])
    error_message = "every schedule calls as the account that its function takes"
  }
  assert {
    condition     = { for env in google_cloud_run_v2_service.function["graphql"].template[0].containers[0].env : env.name => env.value }["ALLOWED_ORIGINS"] == ""
    error_message = "no page of another origin may call graphql by default"
  }

  # Whoever uses postgresql is in the network and signs in as itself.
  assert {
    condition     = [for name, service in google_cloud_run_v2_service.function : name if length(service.template[0].vpc_access) > 0] == keys(google_sql_user.function)
    error_message = "in the network are those that use a PostgreSQL database"
  }
  assert {
    condition = keys(google_sql_user.function) == [
      for name, function in local.manifest.functions : name if length(setintersection(function.uses, ["event_store", "command_database"])) > 0
    ]
    error_message = "a user for each function that uses a PostgreSQL database"
  }
  assert {
    condition = alltrue([
      for name, service in google_cloud_run_v2_service.function :
      contains([for env in service.template[0].containers[0].env : env.name], "EVENT_STORE_URL") == contains(local.manifest.functions[name].uses, "event_store")
      && contains([for env in service.template[0].containers[0].env : env.name], "COMMAND_DATABASE_URL") == contains(local.manifest.functions[name].uses, "command_database")
    ])
    error_message = "each knows the databases that it uses and no other"
  }
  assert {
    condition     = { for env in google_cloud_run_v2_service.function["create_order"].template[0].containers[0].env : env.name => env.value }["EVENT_STORE_URL"] == "postgresql://somebody%40shop-test-1.iam@10.20.0.3/event_store"
    error_message = "a service account's name without its end, percent-encoded, no password, at the private address"
  }
  assert {
    condition = alltrue([
      for name, service in google_cloud_run_v2_service.function : length(service.template[0].volumes) == 0
      && contains([for env in service.template[0].containers[0].env : env.name], "DATABASE_CA")
      == (length(setintersection(local.manifest.functions[name].uses, ["event_store", "command_database"])) > 0)
    ])
    error_message = "each function that uses PostgreSQL verifies the server, and no socket is mounted"
  }
  assert {
    condition = (
      { for env in google_cloud_run_v2_job.migrate.template[0].template[0].containers[0].env : env.name => env.value }["EVENT_STORE_URL"] == "postgresql://somebody%40shop-test-1.iam@10.20.0.3/event_store?options=-c%20role%3Dcloudsqlsuperuser"
      && contains([for env in google_cloud_run_v2_job.migrate.template[0].template[0].containers[0].env : env.name], "DATABASE_CA")
      && google_sql_database_instance.postgres.settings[0].ip_configuration[0].server_ca_mode == "GOOGLE_MANAGED_INTERNAL_CA"
      && google_sql_database_instance.postgres.settings[0].ip_configuration[0].ssl_mode == "ENCRYPTED_ONLY"
    )
    error_message = "the migration connects in the same way, and the CA is the instance's own"
  }
  assert {
    condition     = alltrue([for user in values(google_sql_user.function) : user.type == "CLOUD_IAM_SERVICE_ACCOUNT" && user.password == null && user.database_roles == null])
    error_message = "no password, and no role but those that the migrations give"
  }
  assert {
    condition = alltrue([
      for name, service in google_cloud_run_v2_service.function :
      contains([for env in service.template[0].containers[0].env : env.name], "WRAPPING_KEY")
      == contains(keys(google_kms_crypto_key_iam_member.reads_persons), name)
    ])
    error_message = "each function with the right to use the wrapping key knows its name, and no other"
  }
  assert {
    condition = alltrue([
      google_kms_crypto_key_iam_member.reads_persons["create_order"].role == "roles/cloudkms.cryptoKeyEncrypterDecrypter",
      google_kms_crypto_key_iam_member.reads_persons["graphql"].role == "roles/cloudkms.cryptoKeyDecrypter",
      google_kms_crypto_key_iam_member.reads_persons["erase_person"].role == "roles/cloudkms.cryptoKeyDecrypter",
      !contains(keys(google_kms_crypto_key_iam_member.reads_persons), "create_product"),
      !contains(keys(google_kms_crypto_key_iam_member.reads_persons), "project_products"),
      !contains(keys(google_kms_crypto_key_iam_member.reads_persons), "relay_outbox"),
    ])
    error_message = "only functions that meet what orders say about persons may use the wrapping key"
  }
  assert {
    condition     = toset(keys(google_project_iam_member.signs_in_to_postgres)) == setunion(["migrate"], keys(google_sql_user.function))
    error_message = "functions with a user may sign in"
  }
  assert {
    condition     = !google_sql_database_instance.postgres.settings[0].ip_configuration[0].ipv4_enabled && google_sql_database_instance.postgres.settings[0].edition == "ENTERPRISE"
    error_message = "PostgreSQL has no public address"
  }
  assert {
    condition = alltrue([
      google_sql_database_instance.postgres.settings[0].backup_configuration[0].enabled,
      google_sql_database_instance.postgres.settings[0].backup_configuration[0].point_in_time_recovery_enabled,
      google_sql_database_instance.postgres.deletion_protection,
      google_sql_database_instance.postgres.settings[0].deletion_protection_enabled,
      google_firestore_database.read_models.delete_protection_state == "DELETE_PROTECTION_ENABLED",
    ])
    error_message = "the data is backed up and protected"
  }
  assert {
    condition     = { for flag in google_sql_database_instance.postgres.settings[0].database_flags : flag.name => flag.value }["cloudsql.iam_authentication"] == "on"
    error_message = "service accounts sign in"
  }
  assert {
    condition     = toset(values(google_sql_database.database)[*].name) == toset(["event_store", "command"])
    error_message = "two databases"
  }

  # Every consumer has its subscription dead letters recorder and grants.
  assert {
    condition = toset(keys(local.consumers)) == toset(flatten([
      for name, function in local.manifest.functions : [for topic in try(function.topics, []) : "${replace(name, "_", "-")}.${topic}"]
    ]))
    error_message = "a consumer's subscription for each topic of each entry"
  }
  assert {
    condition     = toset(keys(google_pubsub_subscription.push)) == setunion(keys(local.consumers), [for name in keys(local.consumers) : "record-dead-letter.${name}.dead"])
    error_message = "two subscriptions for each consumer: its own and the recorder's"
  }
  assert {
    condition = alltrue([
      for name in keys(local.consumers) :
      google_pubsub_subscription.push[name].dead_letter_policy[0].max_delivery_attempts == local.manifest.subscriptions.max_delivery_attempts
      && contains(keys(google_pubsub_topic.topic), "${name}.dead")
      && local.subscriptions[name].dead_letter_topic == "${name}.dead"
      && local.subscriptions["record-dead-letter.${name}.dead"].topic == "${name}.dead"
    ])
    error_message = "what a consumer can't take goes to a topic of its own, and from there to the recorder"
  }
  assert {
    condition     = alltrue([for name in keys(local.recorders) : length(google_pubsub_subscription.push[name].dead_letter_policy) == 0])
    error_message = "a recorder has no dead letters of its own"
  }
  assert {
    condition = alltrue([
      for name, subscription in google_pubsub_subscription.push :
      subscription.push_config[0].push_endpoint == local.urls[local.subscriptions[name].function]
      && subscription.push_config[0].oidc_token[0].audience == subscription.push_config[0].push_endpoint
      && google_cloud_run_v2_service.function[local.subscriptions[name].function].custom_audiences[0] == subscription.push_config[0].push_endpoint
      && subscription.expiration_policy[0].ttl == ""
      && subscription.retry_policy[0].minimum_backoff == "${local.manifest.subscriptions.min_backoff_seconds}s"
      && subscription.retry_policy[0].maximum_backoff == "${local.manifest.subscriptions.max_backoff_seconds}s"
      && subscription.ack_deadline_seconds > tonumber(trimsuffix(google_cloud_run_v2_service.function[local.subscriptions[name].function].template[0].timeout, "s"))
    ])
    error_message = "pushes carry a token for their function, come again with growing pauses, wait longer than it takes, and never end"
  }
  assert { # one: Pub/Sub publishes to the dead-letter topic
    condition = alltrue([
      for name in keys(local.consumers) :
      google_pubsub_topic_iam_member.pubsub_gives_up[name].topic == "${name}.dead"
      && google_pubsub_topic_iam_member.pubsub_gives_up[name].role == "roles/pubsub.publisher"
      && google_pubsub_topic_iam_member.pubsub_gives_up[name].member == google_project_service_identity.pubsub.member
    ])
    error_message = "Pub/Sub may move messages to each dead-letter topic"
  }
  assert { # two: and takes it off the subscription
    condition = alltrue([
      for name in keys(local.consumers) :
      google_pubsub_subscription_iam_member.pubsub_takes_off[name].subscription == name
      && google_pubsub_subscription_iam_member.pubsub_takes_off[name].role == "roles/pubsub.subscriber"
      && google_pubsub_subscription_iam_member.pubsub_takes_off[name].member == google_project_service_identity.pubsub.member
    ])
    error_message = "Pub/Sub may take messages off each subscription"
  }
  assert { # three: in whose name it pushes
    condition     = google_service_account_iam_member.pubsub_signs_pushes.role == "roles/iam.serviceAccountTokenCreator" && google_service_account_iam_member.pubsub_signs_pushes.member == google_project_service_identity.pubsub.member
    error_message = "Pub/Sub may sign pushes"
  }
  assert { # four: whom the function lets in
    condition = alltrue([
      for name in keys(google_pubsub_subscription.push) :
      google_cloud_run_v2_service_iam_member.pushed_to[local.subscriptions[name].function].role == "roles/run.invoker"
    ])
    error_message = "every function that is pushed to lets the push account in"
  }

  # Functions publish only what they have to tell.
  assert {
    condition     = [for grant in values(local.publishers) : grant.topic if grant.function == "create_order"] == ["category-events", "order-events", "product-events"]
    error_message = "a command publishes events"
  }
  assert {
    condition     = alltrue([for grant in values(local.publishers) : !endswith(grant.topic, "-events") if contains(["order_saga", "sweep_sagas"], grant.function)])
    error_message = "the saga publishes commands"
  }
  assert {
    condition     = toset([for grant in values(local.publishers) : grant.topic if grant.function == "relay_outbox"]) == local.consumed_topics
    error_message = "the relay publishes whatever was left"
  }
  assert {
    condition     = toset([for grant in values(local.publishers) : grant.function]) == toset([for name, function in local.manifest.functions : name if contains(function.uses, "pubsub") && name != "graphql"])
    error_message = "functions that use Pub/Sub publish to a topic, except graphql, which only looks a topic up"
  }
  assert {
    condition     = !contains([for grant in values(local.publishers) : grant.function], "graphql") && !contains([for grant in values(local.publishers) : grant.function], "project_orders")
    error_message = "readers publish nothing"
  }
  assert {
    condition     = { for name, grant in google_project_iam_member.uses_read_models : name => grant.role if grant.role == "roles/datastore.user" } == { for name, function in local.manifest.functions : name => "roles/datastore.user" if function.group == "projections" || contains(["rebuild_projection", "continue_rebuilds"], name) }
    error_message = "only projections and rebuilding functions write read models"
  }

  # Schedules call their functions as the scheduler.
  assert {
    condition     = { for name, job in google_cloud_scheduler_job.schedule : name => job.schedule } == { for name, function in local.manifest.functions : name => function.schedule.cron if try(function.schedule, null) != null }
    error_message = "a job for each schedule of the manifest"
  }
  assert {
    condition = alltrue([
      for name, job in google_cloud_scheduler_job.schedule :
      job.http_target[0].uri == local.urls[name] && job.http_target[0].oidc_token[0].audience == local.urls[name] && job.http_target[0].http_method == "POST"
      && google_cloud_run_v2_service_iam_member.scheduled[name].role == "roles/run.invoker"
    ])
    error_message = "each carries a token for its function, which lets it in"
  }

  # Firestore has the indexes and lets no client in.
  assert {
    condition     = length(google_firestore_index.index) == sum([for indexes in values(yamldecode(file("${path.module}/indexes.yaml"))) : length(indexes)])
    error_message = "every index of indexes.yaml, which tests/structure/test_indexes.py compares with the queries"
  }
  assert {
    condition = jsonencode([for field in google_firestore_index.index["products: active, category_id, grams contains, name"].fields : [field.field_path, field.order, field.array_config]]) == jsonencode([
      ["active", "ASCENDING", null], ["category_id", "ASCENDING", null], ["grams", null, "CONTAINS"], ["name", "ASCENDING", null],
    ])
    error_message = "fields in their order"
  }
  assert {
    condition     = google_firestore_index.index["orders: user_id, created_at descending"].fields[1].order == "DESCENDING"
    error_message = "the newest first"
  }
  assert {
    condition     = can(regex("allow read, write: if false;", google_firebaserules_ruleset.nobody.source[0].files[0].content)) && google_firebaserules_release.firestore.name == "cloud.firestore"
    error_message = "no client may use Firestore directly"
  }

  # Labels are on everything that takes them.
  assert {
    condition = alltrue([
      for labels in concat(
        values(google_cloud_run_v2_service.function)[*].labels, values(google_pubsub_topic.topic)[*].labels,
        values(google_pubsub_subscription.push)[*].labels, [for service in google_cloud_run_v2_service.function : service.template[0].labels],
        [google_cloud_run_v2_job.migrate.labels, google_sql_database_instance.postgres.settings[0].user_labels, google_artifact_registry_repository.images.labels,
        google_storage_bucket.builds.labels, google_dns_managed_zone.run.labels, google_compute_global_address.databases.labels],
      ) : labels == tomap({ app = "shop", environment = "staging", managed-by = "terraform" })
    ])
    error_message = "labels are missing"
  }

  # The sandbox is called by those alone who pay and ship, and by graphql for its faults.
  assert {
    condition     = keys(google_cloud_run_v2_service_iam_member.calls_the_sandbox) == ["arrange_shipping", "cancel_shipping", "notify_customer", "process_payment", "refund_payment"]
    error_message = "four functions call it"
  }
  assert {
    condition     = { for env in google_cloud_run_v2_service.function["process_payment"].template[0].containers[0].env : env.name => env.value }["PAYMENT_AUTHORIZATION"] == "id-token"
    error_message = "they prove who they are"
  }
  assert {
    condition     = { for env in google_cloud_run_v2_service.function["process_payment"].template[0].containers[0].env : env.name => env.value }["PAYMENT_URL"] == "${local.urls["sandbox_provider"]}/payments"
    error_message = "at the sandbox's address"
  }
  assert {
    condition     = { for env in google_cloud_run_v2_service.function["graphql"].template[0].containers[0].env : env.name => env.value }["FAULT_LAB"] == "true"
    error_message = "admins may break it"
  }
  assert {
    condition     = { for env in google_cloud_run_v2_service.function["graphql"].template[0].containers[0].env : env.name => env.value }["GOOGLE_SIGN_IN"] == "false" && length(google_identity_platform_default_supported_idp_config.google) == 0
    error_message = "without an OAuth client nothing offers Google accounts"
  }
  assert {
    condition     = google_cloud_run_v2_service.function["sandbox_provider"].template[0].scaling[0].max_instance_count == 1
    error_message = "it keeps its books in memory, so there is one of it"
  }
}

run "with_real_providers_there_is_no_sandbox_and_only_callers_read_the_keys" {
  command = plan

  variables {
    environment         = "prod"
    payment_url         = "https://payments.example.com/charges"
    shipping_url        = "https://carrier.example.com/parcels"
    notification_url    = "https://mail.example.com/messages"
    payment_secret      = "payment-authorization"
    shipping_secret     = "shipping-authorization"
    notification_secret = "notification-authorization"

    google_oauth_client_id = "123456789012-abc.apps.googleusercontent.com"
    google_oauth_secret    = "google-oauth"
  }

  assert {
    condition     = { for env in google_cloud_run_v2_service.function["graphql"].template[0].containers[0].env : env.name => env.value }["FAULT_LAB"] == "false"
    error_message = "nothing can be broken"
  }
  assert {
    condition     = google_identity_platform_default_supported_idp_config.google[0].idp_id == "google.com" && data.google_secret_manager_secret_version.google_oauth[0].secret == "google-oauth"
    error_message = "Google accounts sign in with the OAuth client, whose secret is in Secret Manager"
  }
  assert {
    condition     = { for env in google_cloud_run_v2_service.function["graphql"].template[0].containers[0].env : env.name => env.value }["GOOGLE_SIGN_IN"] == "true"
    error_message = "and the console offers it"
  }
  assert {
    condition     = !contains(keys(google_cloud_run_v2_service.function), "sandbox_provider") && length(google_cloud_run_v2_service_iam_member.calls_the_sandbox) == 0
    error_message = "no sandbox"
  }
  assert {
    condition     = { for name, grant in google_secret_manager_secret_iam_member.reads_its_key : name => grant.secret_id } == { process_payment = "payment-authorization", refund_payment = "payment-authorization", arrange_shipping = "shipping-authorization", cancel_shipping = "shipping-authorization", notify_customer = "notification-authorization" }
    error_message = "a key for those who call its provider"
  }
  assert {
    condition = alltrue([
      for name in ["process_payment", "refund_payment"] : jsonencode([
        for env in google_cloud_run_v2_service.function[name].template[0].containers[0].env : [env.value, env.value_source[0].secret_key_ref[0].secret] if env.name == "PAYMENT_AUTHORIZATION"
      ]) == jsonencode([[null, "payment-authorization"]])
    ])
    error_message = "the key is named, never written"
  }
}

run "a_small_system_fits_a_small_database" {
  command = plan

  variables {
    max_instances            = 1
    pool_size                = 1
    database_tier            = "db-g1-small"
    database_max_connections = 110
    high_availability        = false
    functions                = { graphql = { pool_size = 4, min_instances = 1 } }
  }

  assert {
    condition     = alltrue([for service in google_cloud_run_v2_service.function : service.template[0].scaling[0].max_instance_count == 1])
    error_message = "the ceiling holds for all"
  }
  assert {
    condition     = { for env in google_cloud_run_v2_service.function["graphql"].template[0].containers[0].env : env.name => env.value }["POOL_SIZE"] == "4" && google_cloud_run_v2_service.function["graphql"].scaling[0].min_instance_count == 1
    error_message = "what is said of one function wins"
  }
  assert {
    condition     = { for env in google_cloud_run_v2_service.function["graphql"].template[0].containers[0].env : env.name => env.value }["KEPT_WARM"] == "graphql"
    error_message = "graphql is told which functions always run, and need no waking"
  }
}

run "pages_of_the_web_domains_may_call_graphql" {
  command = plan

  variables {
    web_domains = ["shop.example.com", "example.com"]
  }

  assert {
    condition     = { for env in google_cloud_run_v2_service.function["graphql"].template[0].containers[0].env : env.name => env.value }["ALLOWED_ORIGINS"] == "https://shop.example.com https://example.com"
    error_message = "each domain is an origin, by HTTPS only"
  }
  assert {
    condition     = [for name, service in google_cloud_run_v2_service.function : name if contains([for env in service.template[0].containers[0].env : env.name], "ALLOWED_ORIGINS")] == ["graphql"]
    error_message = "only graphql is called by pages"
  }
}
