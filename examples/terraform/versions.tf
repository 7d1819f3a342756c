terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.40" # the first ones with aws_msk_topic
    }
  }
}

# Millrace answers for these services; region, access key and the authority of https are those of `eval "$(millrace env)"`.
provider "aws" {
  region                  = var.region
  skip_metadata_api_check = true

  endpoints {
    kafka          = var.endpoint
    secretsmanager = var.endpoint
    sts            = var.endpoint
  }
}
