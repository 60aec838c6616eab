// Made from the Python options by `make docs`: change those.

/** States of a run that has ended. */
export const FINAL_STATES = ['abort', 'aborted', 'canceled', 'cancelled', 'complete', 'completed', 'crashed', 'deadline_exceeded', 'done', 'ended', 'error', 'errored', 'evicted', 'exited', 'expired', 'failed', 'failed_system', 'failed_user', 'failure', 'finished', 'internal_error', 'killed', 'lost', 'node_failure', 'ok', 'oom_killed', 'oomkilled', 'preempted', 'stopped', 'succeeded', 'success', 'successful', 'system_error', 'system_failure', 'terminated', 'time_out', 'timed_out', 'timedout', 'timeout'];

/** States of a run that has not ended. */
export const ACTIVE_STATES = ['cancelling', 'extracting', 'initializing', 'paused', 'pending', 'processing', 'profiling', 'queued', 'running', 'starting', 'waiting_for_docker_container'];

/** States that people read otherwise. */
export const STATE_LABELS: Record<string, string> = {"system_failure": "platform failure", "failed_system": "platform failure", "failed_user": "failed"};

/** What a file name of a run has more than its author gave it. */
export const UNIQUE_SUFFIX = /-[0-9a-f]{12}(?=(?:\.\w+)?$)/;
