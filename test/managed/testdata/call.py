"""Makes one request with boto3 and prints the answer as JSON: call.py SERVICE OPERATION ARGUMENTS, the last an object of JSON."""
import json
import sys

import boto3

service, operation, arguments = sys.argv[1:]
print(json.dumps(getattr(boto3.client(service), operation)(**json.loads(arguments)), default=str))
