# functions/manifest.yaml is the one list of functions. Terraform derives everything from it, as the code does
# (shared/config/manifest.py).
locals {
  manifest = yamldecode(file("${path.module}/../functions/manifest.yaml"))

  # Every entry with its defaults and this system's overrides.
  functions = {
    for name, entry in local.manifest.functions : name => merge(
      { http = false, public = false, topics = [], dead_letters = false, schedule = null, access = [], calls = "" },
      local.manifest.defaults,
      entry,
      { for key, value in try(var.functions[name], {}) : key => value if value != null },
      {
        service_name = "shop-${replace(name, "_", "-")}"
        source       = entry.group == name ? "functions/${name}/main.py" : "functions/${entry.group}/${name}/main.py"
        access       = try(entry.access, [entry.group])
        databases    = [for use in entry.uses : use if contains(["event_store", "command_database"], use)]
      },
      # A function's own value overrides the ceiling for all.
      {
        max_instances = coalesce(try(var.functions[name].max_instances, null), min(
          try(entry.max_instances, local.manifest.defaults.max_instances), coalesce(var.max_instances, 1000),
        ))
        pool_size = coalesce(try(var.functions[name].pool_size, null), min(
          try(entry.pool_size, local.manifest.defaults.pool_size), coalesce(var.pool_size, 1000),
        ))
      },
    )
    if name != "sandbox_provider" || local.sandbox
  }

  # The sandbox for payments, shipping and notifications, deployed only if one of the three is missing. It stores its ledger in the memory
  # of its one instance, so a restart loses it. For trying out, never for money.
  sandbox = var.payment_url == null || var.shipping_url == null || var.notification_url == null

  labels = {
    app         = "shop"
    environment = var.environment
    managed-by  = "terraform"
  }
}

data "google_project" "this" {
  project_id = var.project_id
}

check "providers" {
  assert {
    condition     = !(local.sandbox && var.environment == "prod")
    error_message = "The sandbox only pretends to pay, ship or notify: set payment_url, shipping_url and notification_url before the first order."
  }
}
