# functions/manifest.yaml is the one list of functions; everything here follows from it, as shared/runtime/manifest.py does
# for the code.
locals {
  manifest = yamldecode(file("${path.module}/../functions/manifest.yaml"))

  functions = {
    for name, entry in local.manifest.functions : name => merge(
      { http = false, public = false, topics = [], dead_letters = false, schedule = null },
      local.manifest.defaults,
      entry,
      {
        service_name = "shop-${replace(name, "_", "-")}"
        source       = entry.group == name ? "functions/${name}/main.py" : "functions/${entry.group}/${name}/main.py"
      },
    )
    if name != "sandbox_provider" || local.sandbox
  }

  sandbox = true # until its variables are there

  labels = {
    app         = "shop"
    environment = var.environment
    managed-by  = "terraform"
  }
}
