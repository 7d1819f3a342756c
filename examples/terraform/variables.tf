variable "endpoint" {
  description = "Address of the API of `millrace serve` (--listen)"
  type        = string
  default     = "http://127.0.0.1:8480"
}

variable "region" {
  description = "Region that `millrace serve` was started for"
  type        = string
  default     = "us-east-1"
}

variable "brokers" {
  description = "Number of brokers of the cluster orders, a multiple of that of its subnets"
  type        = number
  default     = 3
}
