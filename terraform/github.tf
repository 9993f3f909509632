# GitHub Actions may deploy if github_repository names a repository. There is no key: the token of one workflow run is exchanged
# for one of Google's. A deployer can do everything that the shop can do, so access is narrow: one repository, by its name and
# its number, its main branch, and the GitHub environment named like `environment`, whose reviewers and branches GitHub checks
# before it issues the token.

variable "github_repository" {
  description = "The GitHub repository whose deploy workflow may deploy here, for example owner/name; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null || can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "github_repository must be owner/name, for example octocat/shop, without https://github.com/."
  }
}

variable "github_repository_id" {
  description = "The number of that repository, which stays with it: its name can be registered by another owner after a renaming or deletion."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository_id == null || can(regex("^[1-9][0-9]*$", var.github_repository_id))
    error_message = "github_repository_id must be a number, for example 1296269. `curl https://api.github.com/repos/OWNER/NAME` shows it as `id`."
  }

  validation {
    condition     = (var.github_repository_id == null) == (var.github_repository == null)
    error_message = "github_repository and github_repository_id must be set together. `curl https://api.github.com/repos/OWNER/NAME` shows the number as `id`."
  }
}

locals {
  github = var.github_repository == null ? 0 : 1

  # One role for each kind of resource that Terraform creates, the same that scripts/deploy requires of a person
  # (deploy_checks.py). They are on the project, because the resources do not exist yet. The two roles for service accounts
  # let the deployer act as every account of the project, also of others than the shop: README.md says what follows.
  deployer_roles = toset([
    "roles/artifactregistry.admin",         # the registry, and who may push
    "roles/cloudbuild.builds.editor",       # starts a build
    "roles/cloudscheduler.admin",           # schedules
    "roles/cloudsql.admin",                 # the instance, its databases and users
    "roles/compute.networkAdmin",           # the network
    "roles/datastore.owner",                # the database, indexes
    "roles/dns.admin",                      # the functions' addresses inside the network
    "roles/firebaserules.admin",            # the rules that deny clients Firestore
    "roles/iam.serviceAccountAdmin",        # an account for each function
    "roles/iam.serviceAccountUser",         # lets functions run as them
    "roles/identityplatform.admin",         # sign-in
    "roles/logging.configWriter",           # metrics that are counted from the log
    "roles/logging.viewer",                 # the log of a job that failed
    "roles/monitoring.admin",               # metrics, alerts, the dashboard
    "roles/pubsub.admin",                   # topics, subscriptions, and who may use them
    "roles/run.admin",                      # functions, jobs, and who may call them
    "roles/secretmanager.admin",            # who may read a provider's key
    "roles/serviceusage.apiKeysAdmin",      # the key that web pages sign in with
    "roles/serviceusage.serviceUsageAdmin", # APIs
    "roles/storage.admin",                  # the buckets of builds and of the state
  ])

  # All roles that Terraform grants to functions on the project. The deployer can grant no other role, so it can make no
  # account, including itself, an owner.
  roles_it_may_grant = [
    "roles/cloudsql.instanceUser", "roles/cloudtrace.agent", "roles/datastore.user", "roles/datastore.viewer", "roles/monitoring.metricWriter", "roles/monitoring.viewer",
  ]
}

resource "google_project_service" "federation" {
  for_each = var.github_repository == null ? toset([]) : toset(["sts.googleapis.com"])

  service            = each.key
  disable_on_destroy = false # others in the project may use it
}

resource "google_iam_workload_identity_pool" "github" {
  count = local.github

  workload_identity_pool_id = join("-", compact(["shop-github", var.suffix]))
  display_name              = "GitHub Actions"

  depends_on = [google_project_service.api, google_project_service.federation]
}

resource "google_iam_workload_identity_pool_provider" "github" {
  count = local.github

  workload_identity_pool_id          = google_iam_workload_identity_pool.github[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  display_name                       = "GitHub Actions"

  attribute_mapping = {
    "google.subject"          = "assertion.sub"
    "attribute.repository_id" = "assertion.repository_id"
  }
  attribute_condition = join(" && ", [
    "assertion.repository == '${var.github_repository}'",
    "assertion.repository_id == '${var.github_repository_id}'",
    "assertion.ref == 'refs/heads/main'",
    "assertion.environment == '${var.environment}'",
  ])

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account" "deployer" {
  count = local.github

  account_id   = "shop-deployer"
  display_name = "Deploys the shop from GitHub Actions"

  depends_on = [google_project_service.api]
}

# The workflow impersonates the deployer.
resource "google_service_account_iam_member" "github_deploys" {
  count = local.github

  service_account_id = google_service_account.deployer[0].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.github[0].name}/attribute.repository_id/${var.github_repository_id}"
}

resource "google_project_iam_member" "deployer" {
  for_each = var.github_repository == null ? toset([]) : local.deployer_roles

  project = var.project_id
  role    = each.key
  member  = "serviceAccount:${google_service_account.deployer[0].email}"
}

# Grants the functions' roles, and no others.
resource "google_project_iam_member" "deployer_grants" {
  count = local.github

  project = var.project_id
  role    = "roles/resourcemanager.projectIamAdmin"
  member  = "serviceAccount:${google_service_account.deployer[0].email}"

  condition {
    title      = "only what functions need"
    expression = "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly([${join(", ", [for role in local.roles_it_may_grant : "'${role}'"])}])"
  }
}

# Reads the workload identity pool, which it may not change, so that a plan can compare it.
resource "google_project_iam_member" "deployer_sees_the_door" {
  count = local.github

  project = var.project_id
  role    = "roles/iam.workloadIdentityPoolViewer"
  member  = "serviceAccount:${google_service_account.deployer[0].email}"
}

# Manages the budget, which belongs to the billing account.
resource "google_billing_account_iam_member" "deployer_budgets" {
  count = var.github_repository != null && var.billing_account != null ? 1 : 0

  billing_account_id = var.billing_account
  role               = "roles/billing.costsManager"
  member             = "serviceAccount:${google_service_account.deployer[0].email}"
}

output "github_variables" {
  description = "The variables of the GitHub environment (named like `environment`) for the deploy workflow."
  value = var.github_repository == null ? null : {
    PROJECT_ID                 = var.project_id
    WORKLOAD_IDENTITY_PROVIDER = google_iam_workload_identity_pool_provider.github[0].name
    DEPLOYER                   = google_service_account.deployer[0].email
  }
}
