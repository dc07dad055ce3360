# Rules that hold for every server. `deny` is a set of violations, each with the rule's
# name, the field and its value, and what would do; files of your own add to the same
# set in the same package. `data.bounds` comes from `[policy.bounds]` of the settings.
package raddle

deny contains above("batch_size", "max_batch_size", size, data.bounds.batch_max) if {
	input.kind == "model"
	size := input.model.max_batch_size
	size > data.bounds.batch_max
}

deny contains above("preferred_batch_size", "dynamic_batching.preferred_batch_size", size, input.model.max_batch_size) if {
	input.kind == "model"
	some size in input.model.dynamic_batching.preferred_batch_size
	size > input.model.max_batch_size
}

deny contains above("queue_size", "dynamic_batching.default_queue_policy.max_queue_size", size, data.bounds.queue_max) if {
	input.kind == "model"
	size := input.model.dynamic_batching.default_queue_policy.max_queue_size
	size > data.bounds.queue_max
}

deny contains above("queue_delay", "dynamic_batching.max_queue_delay_microseconds", delay, data.bounds.delay_us_max) if {
	input.kind == "model"
	delay := input.model.dynamic_batching.max_queue_delay_microseconds
	delay > data.bounds.delay_us_max
}

deny contains above("instances", "instance_group.count", count(input.devices), data.bounds.instances_max) if {
	input.kind == "model"
	count(input.devices) > data.bounds.instances_max
}

deny contains violation if {
	input.kind == "model"
	some device in input.devices
	not is_allowed(device)
	violation := {
		"rule": "device",
		"field": "instance_group",
		"value": device,
		"expected": sprintf("one of %v", [concat(", ", data.bounds.devices)]),
	}
}

deny contains violation if {
	input.kind == "server"
	found := input.server.limits.connections
	not is_between(found, data.bounds.connections_min, data.bounds.connections_max)
	violation := {
		"rule": "connections",
		"field": "limits.connections",
		"value": found,
		"expected": sprintf("%v to %v", [data.bounds.connections_min, data.bounds.connections_max]),
	}
}

deny contains above("backlog", "limits.backlog", found, data.bounds.backlog_max) if {
	input.kind == "server"
	found := input.server.limits.backlog
	found > data.bounds.backlog_max
}

above(rule, field, value, most) := {
	"rule": rule,
	"field": field,
	"value": value,
	"expected": sprintf("at most %v", [most]),
}

# `gpu` stands for every GPU.
is_allowed(device) if device in data.bounds.devices

is_allowed(device) if split(device, ":")[0] in data.bounds.devices

is_between(value, least, most) if {
	value >= least
	value <= most
}
