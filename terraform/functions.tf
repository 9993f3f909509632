# One Cloud Run service per function, all from the same image: they differ in the file that they load.

locals {
  # These addresses are known before the services exist, so that services can refer to each other. The other address that
  # Cloud Run shows has a random part.
  url_of_services = "https://shop-{service}-${data.google_project.this.number}.${var.region}.run.app"
  urls = {
    for name, function in local.functions : name => replace(local.url_of_services, "{service}", replace(name, "_", "-"))
  }

  # The accounts that each function answers, except at its health and metrics: it verifies the caller's token itself
  # (shared/auth/identity.py), because Cloud Run's IAM lets a caller reach all paths of a service or none.
  callers = {
    for name, function in local.functions : name => sort(
      name == "sandbox_provider" ? [for caller in setunion(local.calls_the_sandbox, ["graphql"]) : google_service_account.function[caller].email] :
      function.schedule != null ? [google_service_account.scheduler.email] :
      length(function.topics) > 0 || function.dead_letters ? [google_service_account.push.email] :
      [google_service_account.function["graphql"].email]
    ) if !function.public
  }

  # Each provider as the manifest's entry `calls` names it: its address, null for the sandbox, and the secret of its key.
  providers = {
    payments      = { prefix = "PAYMENT", sandbox = "payments", url = var.payment_url, secret = var.payment_secret }
    shipping      = { prefix = "SHIPPING", sandbox = "shipments", url = var.shipping_url, secret = var.shipping_secret }
    notifications = { prefix = "NOTIFICATION", sandbox = "notifications", url = var.notification_url, secret = var.notification_secret }
  }
  called = { for name, function in local.functions : name => local.providers[function.calls] if function.calls != "" }

  # Saga steps call the sandbox for charges, refunds, parcels and notifications; graphql, when an admin breaks it.
  calls_the_sandbox = toset([for name, provider in local.called : name if provider.url == null])
  sandbox_url       = replace(local.url_of_services, "{service}", "sandbox-provider")

  # The settings of shared/config/settings.py; those not named here have their defaults.
  settings = {
    for name, function in local.functions : name => merge(
      {
        FUNCTION_SOURCE = function.source
        FUNCTION_TARGET = name
        PYTHONPATH      = "/workspace" # where buildpacks put the repository
        # One thread for each concurrent request. graphql is asynchronous and ignores it.
        THREADS            = tostring(function.concurrency)
        PROJECT_ID         = var.project_id
        SIGN_IN_REQUIRED   = "true"
        TRACE_SAMPLE_RATIO = tostring(var.trace_sample_ratio)
        # The code times out first and cleans up; then the platform; then Pub/Sub, which retries.
        HANDLER_TIMEOUT_SECONDS = tostring(function.timeout_seconds - 10)
      },
      length(function.databases) == 0 ? {} : {
        DATABASE_IAM = "true"
        DATABASE_CA  = local.database_ca
        POOL_SIZE    = tostring(function.pool_size)
      },
      {
        for use, variable in { event_store = "EVENT_STORE_URL", command_database = "COMMAND_DATABASE_URL" } :
        variable => replace(local.database_url[use], "{user}", urlencode(google_sql_user.function[name].name))
        if contains(function.databases, use)
      },
      contains(keys(local.reads_persons), name) ? { WRAPPING_KEY = google_kms_crypto_key.persons.id } : {},
      function.public ? {} : { CALLERS = join(" ", local.callers[name]), AUDIENCE = local.urls[name] },
      name == "graphql" ? {
        ADMIN_EMAIL              = var.admin_email
        ALLOWED_ORIGINS          = join(" ", formatlist("https://%s", var.web_domains))
        CONSOLE_DIRECTORY        = "/workspace/functions/graphql/console/dist"
        ENVIRONMENT              = { staging = "STAGING", prod = "PRODUCTION" }[var.environment]
        FIREBASE_API_KEY         = nonsensitive(google_apikeys_key.web.key_string) # every browser gets it
        GOOGLE_SIGN_IN           = tostring(var.google_oauth_client_id != null)
        FAULT_LAB                = tostring(local.sandbox)
        COMMAND_URL              = local.url_of_services
        QUERY_URL                = local.url_of_services
        SUBSCRIPTION_MAX_SECONDS = tostring(function.timeout_seconds - 300)
        WAKE_AHEAD_SECONDS       = tostring(var.wake_ahead_seconds)
        KEPT_WARM                = join(" ", [for other, about in local.functions : other if about.min_instances > 0])
      } : {},
      {
        for key, provider in local.called : "${provider.prefix}_URL" =>
        coalesce(provider.url, "${local.sandbox_url}/${provider.sandbox}") if key == name
      },
      { for key, provider in local.called : "${provider.prefix}_AUTHORIZATION" => "id-token" if key == name && provider.url == null },
    )
  }

  # Settings whose value is in Secret Manager, by function.
  secrets = {
    for name, function in local.functions : name => {
      for key, provider in local.called : "${provider.prefix}_AUTHORIZATION" => provider.secret
      if key == name && provider.secret != null
    }
  }
}

resource "google_cloud_run_v2_service" "function" {
  for_each = local.functions

  name                = each.value.service_name
  location            = var.region
  labels              = local.labels
  deletion_protection = false # it holds no data

  # Anonymous clients can read the shop: graphql decides what each caller may do. This asks for no grant to `allUsers`, which
  # organizations with domain-restricted sharing forbid.
  invoker_iam_disabled = each.value.public

  # Only the public function accepts requests from outside. Pub/Sub and Cloud Scheduler of the same project count as inside;
  # so do calls through the network (network.tf).
  ingress = each.value.public ? "INGRESS_TRAFFIC_ALL" : "INGRESS_TRAFFIC_INTERNAL_ONLY"

  # The audience of every token, independent of the service's address that was called.
  custom_audiences = [local.urls[each.key]]

  # For all revisions together, so that a roll-out does not double the connections.
  scaling {
    min_instance_count = each.value.min_instances
    max_instance_count = each.value.max_instances
  }

  # Without this, a roll-back to an old revision would persist through every later deployment.
  traffic {
    type    = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
    percent = 100
  }

  template {
    labels                           = local.labels
    service_account                  = google_service_account.function[each.key].email
    max_instance_request_concurrency = each.value.concurrency
    timeout                          = "${each.value.timeout_seconds}s"

    scaling {
      max_instance_count = each.value.max_instances
    }

    # Only for functions that use a database in the network.
    dynamic "vpc_access" {
      for_each = length(each.value.databases) > 0 ? [true] : []
      content {
        egress = "PRIVATE_RANGES_ONLY"
        network_interfaces {
          network    = google_compute_network.shop.name
          subnetwork = google_compute_subnetwork.functions.name
        }
      }
    }

    containers {
      image = var.image

      resources {
        limits = {
          cpu    = tostring(each.value.cpu)
          memory = each.value.memory
        }
        cpu_idle          = true # billed while a request is open, including a subscription's stream
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = local.settings[each.key]
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = local.secrets[each.key]
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = env.value
              version = "latest"
            }
          }
        }
      }

      # Neither probe asks a database; otherwise an outage of PostgreSQL would kill every function and keep it from starting.
      startup_probe {
        period_seconds    = 2
        timeout_seconds   = 2
        failure_threshold = 60
        http_get {
          path = "/health/live"
        }
      }

      # The probe waits for a thread like any request, and no request may hold one longer than the handler's time limit, which
      # is below the probe's: so a busy instance is never taken for a dead one.
      liveness_probe {
        period_seconds    = 60
        timeout_seconds   = 60
        failure_threshold = 3
        http_get {
          path = "/health/live"
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [client, client_version] # the last tool that edited it

    precondition {
      condition     = var.image != null
      error_message = "There is no image yet: build one and set image to its digest (terraform/README.md, step 3), or use scripts/deploy."
    }
    precondition {
      condition     = each.value.cpu >= 1 || each.value.concurrency == 1
      error_message = "${each.key}: below one CPU Cloud Run takes one request at a time; set its concurrency to 1."
    }
    precondition {
      condition     = length(each.value.topics) == 0 && !each.value.dead_letters || each.value.timeout_seconds < local.manifest.subscriptions.ack_deadline_seconds
      error_message = "${each.key}: its timeout_seconds must be below the subscriptions' ack_deadline_seconds; otherwise Pub/Sub retries while it still works."
    }
  }

  depends_on = [
    google_project_service.api,
    google_secret_manager_secret_iam_member.reads_its_key,
  ]
}
