"""The tests that pass through a broker too, and why some of them don't apply there."""

#: Files of tests: runs, logs, variables, fan-out, sessions, interrupts, aborts, storage, chats, VMs, the command line.
SCENARIOS = (
    "cli/test_cli.py", "cli/test_tools.py", "magics/test_chat.py", "magics/test_checkpoint.py",
    "magics/test_containers.py", "magics/test_fan_out.py", "magics/test_history.py", "magics/test_interrupted.py",
    "magics/test_kept_machine.py", "magics/test_lost_lines.py", "magics/test_messages.py", "magics/test_notebook.py",
    "magics/test_reattach.py", "magics/test_rich.py", "magics/test_run.py", "magics/test_sessions.py",
    "magics/test_storage.py", "magics/test_sync.py", "magics/test_variables.py", "magics/test_vm_run.py",
    "magics/test_vms.py", "runs/fanout/test_fanout.py", "runs/submit/test_start.py", "runs/test_abort.py",
    "runs/test_follow.py", "runs/test_reattach.py", "runs/variables/test_variables.py", "storage/test_fsspec.py",
    "storage/test_stage.py", "storage/test_storage.py", "test_executor.py",
)  # fmt: skip

_DEPLOYMENT = "Child keys create no deployments."
_VOLUME = "Child keys create no volumes."
_MEDIA = "The price of images isn't known before the answer."
_TOKENS = "The broker limits an answer without max_tokens to 4,096 tokens."
_MOUNT = "Containers of a key without the scope 'bucket' get no mount."
_LEASE = "The broker ends the VM, and its plan states that end."
_LIFE = "The broker issues storage credentials for 12 hours."
_VM_KEY = "The broker deletes the VM, without an API key on the VM: tests/broker/test_rentals.py has the cell."
_STATUS = "For a start without a usable answer, the broker answers with HTTP 502."

#: Test → why it doesn't apply behind a broker.
NOT_THROUGH_BROKER = {
    "test_a_vm_beyond_the_budget_is_refused_before_the_question_and_one_that_exceeds_it_is_reported": _LEASE,
    "test_a_deployment_is_shown_waking_up_and_answers": _DEPLOYMENT,
    "test_an_answer_grows_in_one_output_above_its_receipt": _TOKENS,
    "test_images_go_beside_the_text": _MEDIA,
    "test_a_script_runs_in_an_image_with_its_environment_user_and_bucket": _MOUNT,
    "test_a_cell_of_three_hours_runs_on_a_vm_after_one_question_and_changes_the_variables": _VM_KEY,
    "test_a_volume_that_is_attached_or_unknown_or_has_no_vm_is_refused_before_anything_is_rented": _VOLUME,
    "test_a_volume_outlives_its_vm": _VOLUME,
    "test_a_start_that_is_refused_is_told_in_its_lane_and_the_others_go_on": _STATUS,
    "test_links_that_would_end_before_the_run_are_refused": _LIFE,
    "test_credentials_that_end_in_mid_transfer_are_renewed": _LIFE,
}
