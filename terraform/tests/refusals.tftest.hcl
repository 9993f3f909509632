# What is refused, and before anything is made.

mock_provider "google" {
  override_during = plan
}
mock_provider "google-beta" {
  override_during = plan
}

variables {
  project_id  = "shop-test-1"
  environment = "staging"
  admin_email = "admin@example.com"
  image       = "asia-northeast1-docker.pkg.dev/shop-test-1/shop/functions@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
}

run "a_zone_is_no_region" {
  command         = plan
  expect_failures = [var.region]
  variables {
    region = "asia-northeast1-a"
  }
}

run "a_multi_region_is_no_region" {
  command         = plan
  expect_failures = [var.region]
  variables {
    region = "eu"
  }
}

run "functions_that_may_open_too_many_connections" {
  command         = plan
  expect_failures = [google_sql_database_instance.postgres]
  variables {
    database_max_connections = 100
  }
}

run "one_function_that_opens_too_many" {
  command         = plan
  expect_failures = [google_sql_database_instance.postgres]
  variables {
    functions = { create_order = { max_instances = 200 } }
  }
}

run "an_image_by_tag" {
  command         = plan
  expect_failures = [var.image]
  variables {
    image = "asia-northeast1-docker.pkg.dev/shop-test-1/shop/functions:latest"
  }
}

run "no_image" {
  command         = plan
  expect_failures = [google_cloud_run_v2_service.function, google_cloud_run_v2_job.migrate]
  variables {
    image = null
  }
}

run "a_projects_name_instead_of_its_id" {
  command         = plan
  expect_failures = [var.project_id]
  variables {
    project_id = "My Shop"
  }
}

run "an_unknown_environment" {
  command         = plan
  expect_failures = [var.environment]
  variables {
    environment = "production"
  }
}

run "no_address_for_the_admin" {
  command         = plan
  expect_failures = [var.admin_email]
  variables {
    admin_email = "admin"
  }
}

run "a_function_that_is_not_there" {
  command         = plan
  expect_failures = [var.functions]
  variables {
    functions = { creat_order = { max_instances = 1 } }
  }
}

run "several_requests_at_once_on_half_a_cpu" {
  command         = plan
  expect_failures = [google_cloud_run_v2_service.function]
  variables {
    functions = { create_order = { cpu = 0.5 } }
  }
}

run "a_budget_without_a_billing_account" {
  command         = plan
  expect_failures = [var.monthly_budget]
  variables {
    monthly_budget = 100
  }
}

run "a_providers_key_without_the_provider" {
  command         = plan
  expect_failures = [var.payment_secret]
  variables {
    payment_secret = "payment-authorization"
  }
}

run "a_key_in_place_of_its_name" {
  command         = plan
  expect_failures = [var.payment_secret]
  variables {
    payment_url    = "https://payments.example.com"
    payment_secret = "Bearer sk_live_1234"
  }
}

run "a_provider_without_encryption" {
  command         = plan
  expect_failures = [var.payment_url]
  variables {
    payment_url = "http://payments.example.com"
  }
}

run "the_sandbox_in_prod_is_warned_of" {
  command         = plan
  expect_failures = [check.providers]
  variables {
    environment = "prod"
  }
}
