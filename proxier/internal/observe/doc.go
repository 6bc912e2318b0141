// Package observe shows what the engine does: log, metrics, status, health and the health check node ports. All of it
// is made of Reports. Nothing here writes to the kernel; the table of connections is read.
package observe
