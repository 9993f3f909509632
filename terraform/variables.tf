variable "project_id" {
  description = "The Google Cloud project that holds everything."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id is the project's id, such as my-shop-123 (6 to 30 letters, digits and hyphens), not its name or number. `gcloud projects list` shows it."
  }
}

variable "region" {
  description = "Where everything runs and lies, such as asia-northeast1. The data cannot be moved later."
  type        = string
  default     = "asia-northeast1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]{1,2}$", var.region))
    error_message = "region is a single region such as asia-northeast1 or europe-west1, not a zone (asia-northeast1-a) nor a multi-region (eu). `gcloud run regions list` shows them."
  }
}

variable "environment" {
  description = "What this system is for; it becomes a label, and prod warns of what only pretends."
  type        = string

  validation {
    condition     = contains(["staging", "prod"], var.environment)
    error_message = "environment is staging or prod."
  }
}

variable "image" {
  description = "The functions' image, by digest: what scripts/deploy has built. Null only before the first build, when nothing but what the build needs is applied."
  type        = string
  default     = null

  validation {
    condition     = var.image == null || can(regex("^[a-z0-9.-]+/[a-z0-9._/-]+@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image is given by digest, such as REGION-docker.pkg.dev/PROJECT/shop/functions@sha256:..., so that what was tested is what runs; a tag may change."
  }
}

variable "admin_email" {
  description = "Who signs in with this address, verified, is admin of the shop."
  type        = string

  validation {
    condition     = can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.admin_email))
    error_message = "admin_email is an e-mail address, such as admin@example.com."
  }
}

variable "alert_email" {
  description = "Where alerts go; the admin's address when null."
  type        = string
  default     = null

  validation {
    condition     = var.alert_email == null || can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.alert_email))
    error_message = "alert_email is an e-mail address, such as on-call@example.com, or null for the admin's."
  }
}

variable "billing_account" {
  description = "The billing account that the budget watches, such as 012345-6789AB-CDEF01; null for no budget."
  type        = string
  default     = null

  validation {
    condition     = var.billing_account == null || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "billing_account looks like 012345-6789AB-CDEF01; `gcloud billing accounts list` shows it."
  }
}

variable "monthly_budget" {
  description = "In the billing account's currency: alerts at 50, 90 and 100 %; null for no budget."
  type        = number
  default     = null

  validation {
    condition     = var.monthly_budget == null || try(var.monthly_budget > 0, false)
    error_message = "monthly_budget is an amount above 0 in the billing account's currency, or null for no budget."
  }

  validation {
    condition     = (var.monthly_budget == null) == (var.billing_account == null)
    error_message = "monthly_budget and billing_account come together: the budget is set on the billing account."
  }
}

variable "payment_url" {
  description = "The payment provider's endpoint, as shared/gateways/providers.py calls it; the sandbox when null."
  type        = string
  default     = null

  validation {
    condition     = var.payment_url == null || can(regex("^https://[^/]+(/.*[^/])?$", var.payment_url))
    error_message = "payment_url begins with https:// and has no slash at its end."
  }
}

variable "shipping_url" {
  description = "The shipping provider's endpoint; the sandbox when null."
  type        = string
  default     = null

  validation {
    condition     = var.shipping_url == null || can(regex("^https://[^/]+(/.*[^/])?$", var.shipping_url))
    error_message = "shipping_url begins with https:// and has no slash at its end."
  }
}

variable "payment_secret" {
  description = "The name of a secret in Secret Manager: what to send to payment_url as the header Authorization, such as `Bearer sk_live_...`. Its value is never here."
  type        = string
  default     = null

  validation {
    condition     = var.payment_secret == null || (can(regex("^[A-Za-z0-9_-]{1,255}$", var.payment_secret)) && var.payment_url != null)
    error_message = "payment_secret is the name of a secret, not its value, and goes with payment_url. Make it with: gcloud secrets create payment-authorization --data-file=-"
  }
}

variable "shipping_secret" {
  description = "The same for shipping_url."
  type        = string
  default     = null

  validation {
    condition     = var.shipping_secret == null || (can(regex("^[A-Za-z0-9_-]{1,255}$", var.shipping_secret)) && var.shipping_url != null)
    error_message = "shipping_secret is the name of a secret, not its value, and goes with shipping_url. Make it with: gcloud secrets create shipping-authorization --data-file=-"
  }
}

variable "web_domains" {
  description = "Domains of web pages, besides the shop's own, from which people may sign in."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for domain in var.web_domains : can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)*$", domain))])
    error_message = "web_domains are domains such as shop.example.com, without https:// and without a path."
  }
}

variable "functions" {
  description = "What is different in this system from functions/manifest.yaml, by function; the rest is as it says there."
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
    error_message = "functions has a name that functions/manifest.yaml does not know."
  }

  validation {
    condition     = alltrue([for function in values(var.functions) : try(function.max_instances > 0, true) && try(function.pool_size > 0, true)])
    error_message = "functions: max_instances and pool_size are above 0."
  }
}

variable "max_instances" {
  description = "No function gets more instances than this, unless `functions` says so; null for as many as the manifest says."
  type        = number
  default     = null

  validation {
    condition     = var.max_instances == null || try(var.max_instances >= 1, false)
    error_message = "max_instances is at least 1."
  }
}

variable "pool_size" {
  description = "No instance opens more connections to a database than this, unless `functions` says so; null for as many as the manifest says."
  type        = number
  default     = null

  validation {
    condition     = var.pool_size == null || try(var.pool_size >= 1, false)
    error_message = "pool_size is at least 1."
  }
}

variable "database_tier" {
  description = "The PostgreSQL machine: db-custom-CPUS-MEGABYTES, or a shared core (db-g1-small) for trying out."
  type        = string
  default     = "db-custom-2-8192"

  validation {
    condition     = can(regex("^db-(f1-micro|g1-small|custom-[0-9]+-[0-9]+)$", var.database_tier))
    error_message = "database_tier is db-custom-CPUS-MEGABYTES, such as db-custom-2-8192, or db-g1-small."
  }
}

variable "database_max_connections" {
  description = "What PostgreSQL is told to accept; about 10 MB of its memory each when all are busy."
  type        = number
  default     = 500

  validation {
    condition     = var.database_max_connections >= 50 && var.database_max_connections <= 10000 && floor(var.database_max_connections) == var.database_max_connections
    error_message = "database_max_connections is a whole number from 50 to 10000."
  }
}

variable "high_availability" {
  description = "Whether PostgreSQL has a standby in another zone. It doubles its price."
  type        = bool
  default     = true
}

variable "suffix" {
  description = "For a system that is put up again where one was taken down: Google does not give the names of a PostgreSQL instance and of a key out again for a week and for a month. Changing it replaces both."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[a-z0-9]{0,10}$", var.suffix))
    error_message = "suffix is up to 10 small letters and digits, such as 2."
  }
}

variable "trace_sample_ratio" {
  description = "How many of all requests are traced, from 0 to 1. The first 2.5 million spans a month are free; an order makes about 60."
  type        = number
  default     = 0.1

  validation {
    condition     = var.trace_sample_ratio >= 0 && var.trace_sample_ratio <= 1
    error_message = "trace_sample_ratio is from 0 to 1."
  }
}

variable "deletion_protection" {
  description = "Whether PostgreSQL and Firestore refuse to be deleted. terraform/README.md says how to delete them nevertheless."
  type        = bool
  default     = true
}
