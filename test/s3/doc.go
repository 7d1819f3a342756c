// Package s3 runs the suite of object stores, and what can go wrong on the way to one, against a real S3 server.
package s3
