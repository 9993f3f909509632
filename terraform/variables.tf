variable "project_id" {
  description = "The Google Cloud project that holds everything."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id must be the project's id, for example my-shop-123 (6 to 30 letters, digits and hyphens), not its name or number. `gcloud projects list` shows it."
  }
}

variable "region" {
  description = "The region of everything, for example asia-northeast1. The data cannot be moved later."
  type        = string
  default     = "asia-northeast1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]{1,2}$", var.region))
    error_message = "region must be a single region, for example asia-northeast1 or europe-west1, not a zone (asia-northeast1-a) nor a multi-region (eu). `gcloud run regions list` shows them."
  }
}

variable "environment" {
  description = "The environment, staging or prod. It becomes a label, and prod warns about the sandbox provider."
  type        = string

  validation {
    condition     = contains(["staging", "prod"], var.environment)
    error_message = "environment must be staging or prod."
  }
}

variable "image" {
  description = "The functions' image by digest, as built by scripts/deploy. Null only before the first build, when only the build's own resources are applied."
  type        = string
  default     = null

  validation {
    condition     = var.image == null || can(regex("^[a-z0-9.-]+/[a-z0-9._/-]+@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image must be a digest, for example REGION-docker.pkg.dev/PROJECT/shop/functions@sha256:..., so that the tested image is the one that runs; a tag may change."
  }
}

variable "admin_email" {
  description = "The address of the shop's admin. scripts/deploy creates the user; a Google account with the address is an admin, too."
  type        = string

  validation {
    condition     = can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.admin_email))
    error_message = "admin_email must be an e-mail address, for example admin@example.com."
  }
}

variable "alert_email" {
  description = "The address for alerts; the admin's if null."
  type        = string
  default     = null

  validation {
    condition     = var.alert_email == null || can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.alert_email))
    error_message = "alert_email must be an e-mail address, for example on-call@example.com, or null for the admin's."
  }
}

variable "billing_account" {
  description = "The billing account of the budget, for example 012345-6789AB-CDEF01; null for no budget."
  type        = string
  default     = null

  validation {
    condition     = var.billing_account == null || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "billing_account must look like 012345-6789AB-CDEF01; `gcloud billing accounts list` shows it."
  }
}

variable "monthly_budget" {
  description = "The monthly budget in the billing account's currency, with alerts at 50, 90 and 100 %; null for no budget."
  type        = number
  default     = null

  validation {
    condition     = var.monthly_budget == null || try(var.monthly_budget > 0, false)
    error_message = "monthly_budget must be an amount above 0 in the billing account's currency, or null for no budget."
  }

  validation {
    condition     = (var.monthly_budget == null) == (var.billing_account == null)
    error_message = "monthly_budget and billing_account must be set together: the budget belongs to the billing account."
  }
}

variable "payment_url" {
  description = "The payment provider's endpoint, as shared/gateways/providers.py calls it; the sandbox if null."
  type        = string
  default     = null

  validation {
    condition     = var.payment_url == null || can(regex("^https://[^/]+(/.*[^/])?$", var.payment_url))
    error_message = "payment_url must begin with https:// and must not end with a slash."
  }
}

variable "shipping_url" {
  description = "The shipping provider's endpoint; the sandbox if null."
  type        = string
  default     = null

  validation {
    condition     = var.shipping_url == null || can(regex("^https://[^/]+(/.*[^/])?$", var.shipping_url))
    error_message = "shipping_url must begin with https:// and must not end with a slash."
  }
}

variable "payment_secret" {
  description = "The name of a secret in Secret Manager whose value is sent to payment_url as the header Authorization, for example `Bearer sk_live_...`. Its value is never in Terraform."
  type        = string
  default     = null

  validation {
    condition     = var.payment_secret == null || (can(regex("^[A-Za-z0-9_-]{1,255}$", var.payment_secret)) && var.payment_url != null)
    error_message = "payment_secret must be the name of a secret, not its value, and needs payment_url. Create it with: gcloud secrets create payment-authorization --data-file=-"
  }
}

variable "shipping_secret" {
  description = "The name of the secret whose value is sent to shipping_url as the header Authorization."
  type        = string
  default     = null

  validation {
    condition     = var.shipping_secret == null || (can(regex("^[A-Za-z0-9_-]{1,255}$", var.shipping_secret)) && var.shipping_url != null)
    error_message = "shipping_secret must be the name of a secret, not its value, and needs shipping_url. Create it with: gcloud secrets create shipping-authorization --data-file=-"
  }
}

variable "notification_url" {
  description = "The notification provider's endpoint; the sandbox, which tells nobody, if null."
  type        = string
  default     = null

  validation {
    condition     = var.notification_url == null || can(regex("^https://[^/]+(/.*[^/])?$", var.notification_url))
    error_message = "notification_url must begin with https:// and must not end with a slash."
  }
}

variable "notification_secret" {
  description = "The name of the secret whose value is sent to notification_url as the header Authorization."
  type        = string
  default     = null

  validation {
    condition     = var.notification_secret == null || (can(regex("^[A-Za-z0-9_-]{1,255}$", var.notification_secret)) && var.notification_url != null)
    error_message = "notification_secret must be the name of a secret, not its value, and needs notification_url. Create it with: gcloud secrets create notification-authorization --data-file=-"
  }
}

variable "google_oauth_client_id" {
  description = "The id of the OAuth client for sign-in with Google accounts, for example 123-abc.apps.googleusercontent.com; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.google_oauth_client_id == null || can(regex("^[0-9]+-[a-z0-9]+\\.apps\\.googleusercontent\\.com$", var.google_oauth_client_id))
    error_message = "google_oauth_client_id must be a client id of Google's, for example 123-abc.apps.googleusercontent.com. terraform/README.md says where to make one."
  }
}

variable "google_oauth_secret" {
  description = "The name of the secret in Secret Manager that holds the OAuth client's secret."
  type        = string
  default     = null

  validation {
    condition     = (var.google_oauth_secret == null) == (var.google_oauth_client_id == null)
    error_message = "google_oauth_secret and google_oauth_client_id must be set together: the client proves itself with the secret."
  }

  validation {
    condition     = var.google_oauth_secret == null || can(regex("^[A-Za-z0-9_-]{1,255}$", var.google_oauth_secret))
    error_message = "google_oauth_secret must be the name of a secret, not its value. Create it with: gcloud secrets create google-oauth --data-file=-"
  }
}

variable "web_domains" {
  description = "Domains of web pages, besides the shop's own, from which users may sign in and which may call GraphQL (as https://DOMAIN)."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for domain in var.web_domains : can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)*$", domain))])
    error_message = "web_domains must be domains, for example shop.example.com, without https:// and without a path."
  }
}

variable "functions" {
  description = "This system's overrides of functions/manifest.yaml, by function."
  type = map(object({
    min_instances = optional(number)
    max_instances = optional(number)
    pool_size     = optional(number)
    concurrency   = optional(number)
    cpu           = optional(number)
    memory        = optional(string)
  }))
  default = {}

  validation {
    condition     = alltrue([for name in keys(var.functions) : can(yamldecode(file("${path.module}/../functions/manifest.yaml")).functions[name])])
    error_message = "functions has a name that is not in functions/manifest.yaml."
  }

  validation {
    condition     = alltrue([for function in values(var.functions) : try(function.max_instances > 0, true) && try(function.pool_size > 0, true)])
    error_message = "functions: max_instances and pool_size must be above 0."
  }
}

variable "wake_ahead_seconds" {
  description = "A command wakes the functions that its events will reach, each at most once in so many seconds, about as long as Cloud Run keeps an idle instance. 0: never."
  type        = number
  default     = 600

  validation {
    condition     = var.wake_ahead_seconds >= 0
    error_message = "wake_ahead_seconds must be 0 or more."
  }
}

variable "max_instances" {
  description = "The most instances of a function without an override in `functions`; null for the manifest's values."
  type        = number
  default     = null

  validation {
    condition     = var.max_instances == null || try(var.max_instances >= 1, false)
    error_message = "max_instances must be at least 1."
  }
}

variable "pool_size" {
  description = "The most connections that an instance opens to a database, without an override in `functions`; null for the manifest's values."
  type        = number
  default     = null

  validation {
    condition     = var.pool_size == null || try(var.pool_size >= 1, false)
    error_message = "pool_size must be at least 1."
  }
}

variable "database_tier" {
  description = "The PostgreSQL machine: db-custom-CPUS-MEGABYTES, or a shared core (db-g1-small) for trying out."
  type        = string
  default     = "db-custom-2-8192"

  validation {
    condition     = can(regex("^db-(f1-micro|g1-small|custom-[0-9]+-[0-9]+)$", var.database_tier))
    error_message = "database_tier must be db-custom-CPUS-MEGABYTES, for example db-custom-2-8192, or db-g1-small."
  }
}

variable "database_max_connections" {
  description = "PostgreSQL's max_connections; each takes about 10 MB of its memory when all are busy."
  type        = number
  default     = 520

  validation {
    condition     = var.database_max_connections >= 50 && var.database_max_connections <= 10000 && floor(var.database_max_connections) == var.database_max_connections
    error_message = "database_max_connections must be a whole number from 50 to 10000."
  }
}

variable "high_availability" {
  description = "Whether PostgreSQL has a standby in another zone, which doubles its price."
  type        = bool
  default     = true
}

variable "suffix" {
  description = "A suffix for names, to deploy again in a project where the shop was deleted: Google reserves the name of a PostgreSQL instance for a week and of a key for a month. Changing it replaces both."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[a-z0-9]{0,10}$", var.suffix))
    error_message = "suffix must be up to 10 lower-case letters and digits, for example 2."
  }
}

variable "trace_sample_ratio" {
  description = "The share of requests that are traced, from 0 to 1. The first 2.5 million spans a month are free; an order makes about 60."
  type        = number
  default     = 0.1

  validation {
    condition     = var.trace_sample_ratio >= 0 && var.trace_sample_ratio <= 1
    error_message = "trace_sample_ratio must be from 0 to 1."
  }
}

variable "deletion_protection" {
  description = "Whether PostgreSQL and Firestore are protected from deletion. terraform/README.md says how to delete them."
  type        = bool
  default     = true
}
