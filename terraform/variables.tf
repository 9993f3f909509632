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
  description = "What this system is for; it becomes a label, and in prod the data is protected from deletion."
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
