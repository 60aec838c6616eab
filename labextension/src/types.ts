// Made from the Python models by `make docs`: change those.

/** The answer to an abort or a stop; the run may stay active for a while. */
export interface AbortResponse {
  execution_id?: string | null;
  status?: string;
  message?: string;
}

/** A shared model under a name for Anthropic-style clients. */
export interface AnthropicModel {
  id: string;
  type?: string | null;
  display_name?: string | null;
}

/** The shared models, with aliases that start with `claude-lyceum-`. */
export interface AnthropicModelList {
  data: AnthropicModel[];
}

/** A personal API key without its secret; `key_prefix` is the start of the secret. */
export interface ApiKey {
  id: string;
  key_name?: string;
  key_prefix?: string;
  is_active?: boolean | null;
  created_at?: string | null;
  last_used_at?: string | null;
  expires_at?: string | null;
}

/** Whether a key is active. */
export interface ApiKeyToggleResult {
  is_active?: boolean | null;
}

/** The model's message, or a piece of the message in a stream; reasoning has one of two names. */
export interface AssistantMessage {
  role?: string | null;
  content?: string | null;
  reasoning_content?: string | null;
  reasoning?: string | null;
  tool_calls?: ToolCall[] | null;
}

/** The request id for reading the answer later. */
export interface AsyncInferenceAccepted {
  request_id: string;
}

/** The result of an asynchronous request: pending, completed, or a failure with its `error`. */
export interface AsyncInferenceResult {
  status?: string;
  result?: ChatCompletion | null;
  error?: string | null;
}

/** A volume as the machine reports the volume. */
export interface AttachedVolume {
  volume_id?: string | null;
  size_gb?: number | null;
  mount_path?: string | null;
}

/** Profiles that the caller may launch; an empty list means no restriction. */
export interface AvailableHardware {
  available_hardware_profiles?: string[];
}

/**
 * A batch: validating, in_progress, finalizing, then completed, failed, expired or cancelled. `output_file_id` is the
 * id of the file with answers, in any order, joined by `custom_id`; `error_file_id` is the id of the file with failed
 * lines. Some servers send several ids; see `output_files`.
 */
export interface Batch {
  id: string;
  object?: string | null;
  endpoint?: string | null;
  model?: string | null;
  input_file_id?: string;
  completion_window?: string | null;
  status?: string;
  output_file_id?: string | null;
  error_file_id?: string | null;
  created_at?: number | null;
  expires_at?: number | null;
  completed_at?: number | null;
  request_counts?: RequestCounts | null;
  metadata?: Record<string, unknown> | null;
  errors?: Record<string, unknown> | unknown[] | null;
}

/** A stored file; `purpose` is batch, batch_output or batch_errors. */
export interface BatchFile {
  id: string;
  object?: string;
  bytes?: number | null;
  created_at?: number | null;
  filename?: string;
  purpose?: string;
}

/** The deleted file. */
export interface BatchFileDeleted {
  id?: string | null;
  object?: string | null;
  deleted?: boolean | null;
}

/** Stored files, newest first. */
export interface BatchFileList {
  has_more?: boolean | null;
  object?: string | null;
  data: BatchFile[];
}

/** A file of requests, with one JSON object per line. */
export interface BatchFileUpload {
  file: string;
  purpose?: string;
}

/** Batches, newest first. */
export interface BatchList {
  has_more?: boolean | null;
  object?: string | null;
  data: Batch[];
  first_id?: string | null;
  last_id?: string | null;
}

/** Charges and top-ups, newest first. */
export interface BillingActivities {
  activities: BillingActivity[];
  total_activities?: number | null;
}

/** A charge or top-up, in credits. */
export interface BillingActivity {
  activity_id: string;
  created_at?: string | null;
  /** Kind of charge, such as execution or purchase. */
  type?: string;
  description?: string;
  status?: string;
  amount?: number | null;
  hardware_profile?: string | null;
  local_imports?: string[] | null;
}

/** A volume; a volume outlives its machine and costs credits until deleted. */
export interface BlockVolume {
  volume_id: string;
  name?: string | null;
  size_gb?: number | null;
  status?: string | null;
  location?: string | null;
  attached_vm_id?: string | null;
  mount_path?: string | null;
}

/** Volumes, attached or free. */
export interface BlockVolumeList {
  volumes?: BlockVolume[];
}

/** Several files to store, each under its name after `folder_prefix`. */
export interface BulkUploadBody {
  files: string[];
  /** Put before every key. */
  folder_prefix?: string | null;
}

/** The results of all files; a failed file doesn't fail the others. */
export interface BulkUploadResponse {
  total_files?: number | null;
  successful_uploads?: number | null;
  failed_uploads?: number | null;
  results: BulkUploadResult[];
  message?: string;
}

/** The result for a file. */
export interface BulkUploadResult {
  key: string;
  size?: number | null;
  etag?: string;
  /** success or failed. */
  status?: string;
  error_message?: string | null;
}

/** The cost per hour: the sum of the known prices, and whether all prices are known; `label` has both. */
export interface BurnRateContent {
  things: BurningThing[];
  per_hour: string;
  complete: boolean;
  label: string;
  /** Number of active things that a stop of everything stops, billed or not. */
  stoppable?: number;
  /** Lists that couldn't be read, and budgets that VMs and deployments have exceeded. */
  warnings?: string[];
  /** VMs of runs from this machine that should be deleted, with their cost. */
  overdue?: string[];
}

/** Something that is billed by the hour now; credits are decimal text, None where the price is not known. */
export interface BurningThing {
  kind: string;
  id: string;
  name: string;
  hardware: string;
  state: string;
  per_hour: string | null;
  /** The stated end of a VM or a deployment, and who enforces it. */
  end?: string;
}

/** The number of cached tokens of a prompt. */
export interface CachedTokens {
  cached_tokens?: number | null;
}

/** An answer; `finish_reason` is stop, length or tool_calls. */
export interface ChatChoice {
  index?: number | null;
  message?: AssistantMessage;
  finish_reason?: string | null;
}

/** A piece of an answer. */
export interface ChatChunkChoice {
  index?: number | null;
  delta?: AssistantMessage;
  finish_reason?: string | null;
}

/** The answers to a conversation. */
export interface ChatCompletion {
  id?: string | null;
  object?: string | null;
  created?: number | null;
  model?: string | null;
  choices: ChatChoice[];
  usage?: Usage | null;
}

/** A piece of the answers; the last piece may have token counts and no choices. */
export interface ChatCompletionChunk {
  id?: string | null;
  object?: string | null;
  created?: number | null;
  model?: string | null;
  choices?: ChatChunkChoice[];
  usage?: Usage | null;
}

/** A conversation and the model that continues the conversation. */
export interface ChatCompletionRequest {
  messages: ChatMessage[];
  /** Maximum tokens of the answer, including reasoning. */
  max_tokens?: number | null;
  temperature?: number | null;
  stream?: boolean;
  stream_options?: StreamOptions | null;
  top_p?: number | null;
  /** When the model generates this text, the answer ends before the text. */
  stop?: string | string[] | null;
  seed?: number | null;
  response_format?: Record<string, unknown> | null;
  tools?: (Record<string, unknown>)[] | null;
  tool_choice?: string | Record<string, unknown> | null;
  reasoning_effort?: string | null;
  chat_template_kwargs?: Record<string, unknown> | null;
  /** Model id, or lyceum/router to choose a model by the prompt. */
  model: string;
}

/** A part of a message: text or an image. */
export interface ChatContentPart {
  type: 'text' | 'image_url';
  text?: string | null;
  image_url?: ImageUrl | null;
}

/** A message of a conversation; instructions have the role `system`. */
export interface ChatMessage {
  role: 'system' | 'user' | 'assistant' | 'tool';
  content?: string | ChatContentPart[] | null;
  name?: string | null;
  tool_calls?: (Record<string, unknown>)[] | null;
  tool_call_id?: string | null;
}

/** Credits to buy, and the next address of the browser. */
export interface CheckoutRequest {
  /** Credits to buy. */
  credits_amount: number;
  /** Address to open after the payment. */
  success_url?: string | null;
  /** Address to open after a cancelled payment. */
  cancel_url?: string | null;
}

/** A payment to make in a browser. */
export interface CheckoutSession {
  /** Address of the payment page. */
  checkout_url: string;
  session_id?: string;
}

/** A file of requests to answer; `endpoint` and `model` override the lines of the file. */
export interface CreateBatchRequest {
  input_file_id: string;
  /** Only 24h is offered. */
  completion_window?: string;
  /** Such as /v1/chat/completions. */
  endpoint?: string | null;
  model?: string | null;
  metadata?: Record<string, string> | null;
}

/** A model to serve and the GPUs; the server chooses omitted values. */
export interface CreateDeploymentRequest {
  /** Model to deploy: a serving_name from the list of deployable models. */
  hf_model_id: string;
  /** Machine type of each replica, such as gpu.a100. */
  hardware_profile?: string | null;
  /** GPU type of each replica, such as h100. */
  gpu_type?: string | null;
  /** GPUs of each replica. */
  gpu_count?: 1 | 2 | 4 | 8 | null;
  gpu_vram_gb?: number | null;
  vllm_args?: string | null;
  /** Requests per second to a replica. Above this rate, another replica starts. */
  target_rps?: number | null;
  /** 95th percentile of the latency, in ms. Above this latency, another replica starts. */
  target_latency_p95_ms?: number | null;
  /** Seconds without requests before a replica ends. */
  stabilisation_window?: number | null;
  /** Hugging Face token for gated models. */
  hf_token?: string | null;
  min_replicas?: number;
  max_replicas?: number;
}

/** A machine to start. `volume_ids` and `new_volume` exclude each other. */
export interface CreateVMRequest {
  /** OpenSSH public key line. */
  user_public_key: string;
  /** Card, such as a100. */
  hardware_profile: string;
  instance_specs?: InstanceSpecs | null;
  /** Label of the VM. Several VMs may have the same label. */
  display_name?: string | null;
  /** Kind of price. The cloud may reclaim a spot VM at any time. */
  instance_type?: 'on-demand' | 'spot';
  /** Older field for the label. Use display_name. */
  name?: string | null;
  /** Volumes to attach. */
  volume_ids?: string[] | null;
  /** Allow the cloud to copy the volumes of volume_ids to the location of the VM. This takes hours. */
  volume_migration_allowed?: boolean | null;
  /** New volume to create and attach. */
  new_volume?: NewVolume | null;
}

/** The credit balance; `remaining_credits` can still be spent. Only a broker answers with a `budget`. */
export interface CreditsBalance {
  remaining_credits: number;
  available_credits?: number | null;
  used_credits?: number | null;
  total_credits_used?: number | null;
  monthly_free_credits?: number | null;
  purchased_credits?: number | null;
  signup_grant_claimed_at?: string | null;
  budget?: GrantedBudget | null;
}

/** The values of a number that a run prints repeatedly; a value that isn't finite is None. */
export interface CurveContent {
  name: string;
  steps: number[];
  values: (number | null)[];
}

/** A conversation to continue; `model` is a deployment's id unless a header contains the id. */
export interface DedicatedChatCompletionRequest {
  messages: ChatMessage[];
  /** Maximum tokens of the answer, including reasoning. */
  max_tokens?: number | null;
  temperature?: number | null;
  stream?: boolean;
  stream_options?: StreamOptions | null;
  top_p?: number | null;
  /** When the model generates this text, the answer ends before the text. */
  stop?: string | string[] | null;
  seed?: number | null;
  response_format?: Record<string, unknown> | null;
  tools?: (Record<string, unknown>)[] | null;
  tool_choice?: string | Record<string, unknown> | null;
  reasoning_effort?: string | null;
  chat_template_kwargs?: Record<string, unknown> | null;
  model?: string | null;
}

/**
 * A deployable model, with its default GPUs. `price_per_hour` is in credits for one replica; `is_gpu_available` is None
 * if unknown; `ready_timeout_s` is the seconds to wait for the first healthy replica.
 */
export interface DedicatedModel {
  serving_name: string;
  hf_model_id?: string;
  gpu_type?: string;
  gpu_count?: number;
  price_per_hour?: string | null;
  is_gpu_available?: boolean | null;
  ready_timeout_s?: number;
}

/** The deployable models. */
export interface DedicatedModelList {
  models: DedicatedModel[];
}

/** A deleted volume. */
export interface DeleteVolumeResponse {
  volume_id?: string | null;
  message?: string | null;
}

/** A deployment in a list. */
export interface Deployment {
  deployment_id: string;
  hf_model_id?: string;
  hardware_profile?: string;
  status?: string;
  current_replicas?: number | null;
  min_replicas?: number | null;
  max_replicas?: number | null;
  created_at?: string | null;
}

/** A deployment with scaling and replicas. */
export interface DeploymentDetail {
  deployment_id: string;
  hf_model_id?: string;
  hardware_profile?: string;
  status?: string;
  current_replicas?: number | null;
  min_replicas?: number | null;
  max_replicas?: number | null;
  created_at?: string | null;
  desired_replicas?: number | null;
  target_rps?: number | null;
  target_latency_p95_ms?: number | null;
  stabilisation_window?: number | null;
  replicas?: Replica[] | null;
}

/** The deployments of an organization. */
export interface DeploymentList {
  deployments: Deployment[];
}

/** A deployment and the state: pending, created (serves), paused, stopped, failed. */
export interface DeploymentState {
  deployment_id: string;
  status?: string;
}

/** A stack of containers to run. */
export interface DockerComposeExecutionRequest {
  /** Registry login: basic or aws. */
  docker_registry_credential_type?: string | null;
  aws_access_key_id?: string | null;
  aws_secret_access_key?: string | null;
  aws_session_token?: string | null;
  /** Region of the ECR registry. */
  aws_region?: string | null;
  /** For a basic login. */
  docker_username?: string | null;
  /** For a basic login. */
  docker_password?: string | null;
  /** Maximum duration of the run, in seconds. */
  timeout?: number;
  /** Machine to run on. */
  execution_type?: string;
  /** Display name when run_name is missing. */
  file_name?: string | null;
  /** HTTPS addresses that the cloud calls when the run ends. */
  user_callback_urls?: string[] | null;
  /** Seconds between the stop signal and the kill. Default: 10. */
  graceful_timeout?: number | null;
  /** Display name. */
  run_name?: string | null;
  /** Tags of your choice, to find the run later. */
  labels?: string[] | null;
  /** Key-value pairs of your choice. */
  metadata?: Record<string, string> | null;
  /** Text of the compose file. */
  compose_file_code: string;
  /** Mount the account's bucket at /mnt/s3 in each service. */
  enable_s3_mount?: boolean;
}

/** A container image to run. */
export interface DockerExecutionRequest {
  /** Registry login: basic or aws. */
  docker_registry_credential_type?: string | null;
  aws_access_key_id?: string | null;
  aws_secret_access_key?: string | null;
  aws_session_token?: string | null;
  /** Region of the ECR registry. */
  aws_region?: string | null;
  /** For a basic login. */
  docker_username?: string | null;
  /** For a basic login. */
  docker_password?: string | null;
  /** Maximum duration of the run, in seconds. */
  timeout?: number;
  /** Machine to run on. */
  execution_type?: string;
  /** Display name when run_name is missing. */
  file_name?: string | null;
  /** HTTPS addresses that the cloud calls when the run ends. */
  user_callback_urls?: string[] | null;
  /** Seconds between the stop signal and the kill. Default: 10. */
  graceful_timeout?: number | null;
  /** Display name. */
  run_name?: string | null;
  /** Tags of your choice, to find the run later. */
  labels?: string[] | null;
  /** Key-value pairs of your choice. */
  metadata?: Record<string, string> | null;
  /** Image, such as python:3.11. */
  docker_image_ref: string;
  /** Command and arguments that replace the image's command. */
  docker_run_cmd?: string[] | null;
  /** Environment variables as NAME=value, one per line. */
  docker_run_env?: string | null;
  /** User in the container: a name, uid, or uid:gid. */
  docker_run_user?: string | null;
  /** customer_image, or customer_notebook for a Jupyter server. */
  job_type?: string | null;
  /** Mount the account's bucket. */
  enable_s3_mount?: boolean;
  /** Folder at which the container finds the bucket. */
  s3_mount_path?: string;
}

/** The vector of a text: numbers, or base64 of little-endian 32-bit floats on request. */
export interface Embedding {
  object?: string | null;
  index?: number | null;
  embedding: number[] | string;
}

/** Texts to convert into vectors; a text may be given as the ids of its tokens. */
export interface EmbeddingRequest {
  model: string;
  input: string | string[] | number[] | number[][];
  encoding_format?: 'float' | 'base64' | null;
}

/** A vector for each text, in the order of the texts. */
export interface EmbeddingResponse {
  object?: string | null;
  model?: string | null;
  data: Embedding[];
  usage?: Usage | null;
}

/** A variable with a masked value. */
export interface EnvironmentVariable {
  name: string;
  id?: string;
  /** Masked for secrets. */
  value?: string | null;
  is_secret?: boolean | null;
  created_at?: string | null;
  updated_at?: string | null;
}

/** Several variables with different names. */
export interface EnvironmentVariableBatch {
  environment_variables: EnvironmentVariableInput[];
}

/** A variable to create or replace. */
export interface EnvironmentVariableInput {
  name: string;
  /** The server encrypts the value. Use short values. */
  value: string;
  is_secret?: boolean | null;
}

/** The variables of the caller, without their values. */
export interface EnvironmentVariableList {
  environment_variables: EnvironmentVariable[];
}

/** Runs with their cost, newest first. */
export interface ExecutionHistory {
  limit?: number | null;
  offset?: number | null;
  executions: ExecutionSummary[];
  total_executions?: number | null;
  total_credits_spent?: number | null;
  counts_by_status?: Record<string, number>;
}

/** GPU and host series of a run; a series without samples is empty. */
export interface ExecutionMetrics {
  executionId?: string | null;
  hostname?: string | null;
  timeRange?: TimeRange | null;
  gpuUtilizationPercent?: MetricPoint[];
  gpuMemoryUtilizationPercent?: MetricPoint[];
  gpuTemperatureCelsius?: MetricPoint[];
  gpuPowerWatt?: MetricPoint[];
  gpuPowerLimitWatt?: MetricPoint[];
  gpuClockSmMhz?: MetricPoint[];
  gpuClockMemMhz?: MetricPoint[];
  gpuPcieThroughputRxBytesPerSec?: MetricPoint[];
  gpuPcieThroughputTxBytesPerSec?: MetricPoint[];
  systemRamTotalBytes?: MetricPoint[];
  systemRamUsedBytes?: MetricPoint[];
  systemCpuUsagePercent?: MetricPoint[];
}

/** The complete record of a run. Times are UTC, `billed` is in credits. */
export interface ExecutionRecord {
  status?: string;
  execution_id: string;
  /** Request received. */
  created_at?: string | null;
  user_id?: string | null;
  status_details?: string | null;
  /** Kind of run. In the request, execution_type is the machine type. */
  execution_type?: string | null;
  job_type?: string | null;
  /** Requested machine type. */
  hardware_profile?: string | null;
  parent_execution_id?: string | null;
  file_name?: string | null;
  run_name?: string | null;
  labels?: string[] | null;
  metadata?: Record<string, unknown> | null;
  /** A machine accepted the run. */
  execelet_start?: string | null;
  /** The code started. */
  start_time?: string | null;
  /** The code ended. */
  end_time?: string | null;
  /** The result was processed. */
  finish_time?: string | null;
  /** Older name of start_time. */
  job_start?: string | null;
  /** Older name of end_time. */
  job_end?: string | null;
  return_code?: number | null;
  /** Output of the run; missing if very long. The logs contain it. */
  stdout?: string | null;
  /** Error output of the run; missing if very long. */
  stderr?: string | null;
  /** Lines of stdout and stderr in order; missing if very long. */
  combined_output?: string | null;
  /** Output of the requirements install. */
  install_log?: string | null;
  install_return_code?: number | null;
  errors?: string[] | null;
  warnings?: string[] | null;
  /** Failures of the platform. */
  system_errors?: string[] | null;
  errors_docker?: string | null;
  /** Credits charged so far. */
  billed?: number | null;
  python_code?: string | null;
  python_requirements?: string | null;
  python_globals_in?: string | null;
  /** Interpreter state after the run. */
  python_globals_out?: string | null;
  local_imports?: string | string[] | null;
  docker_image_ref?: string | null;
  docker_run_cmd?: string | string[] | null;
  docker_run_env?: string | null;
}

/** A run, past or present, with the cost in credits. */
export interface ExecutionSummary {
  status?: string;
  execution_id: string;
  created_at?: string | null;
  execution_type?: string;
  hardware_profile?: string;
  status_details?: string | null;
  local_imports?: string | string[] | null;
  billed?: number | null;
  execelet_start?: string | null;
  start_time?: string | null;
  end_time?: string | null;
  finish_time?: string | null;
  job_start?: string | null;
  job_end?: string | null;
  file_name?: string | null;
  errors_docker?: string | null;
  parent_execution_id?: string | null;
  job_type?: string | null;
  metadata?: Record<string, unknown> | null;
}

/** Facts read from a script before the run. */
export interface ExtractionResult {
  status?: string | null;
  memory_config?: MemoryConfig | null;
}

/** An object of the bucket. */
export interface FileInfo {
  key: string;
  /** Bytes. */
  size?: number | null;
  last_modified?: string | null;
  etag?: string;
}

/** A folder to make. */
export interface FolderBody {
  folder: string;
}

/** The findings of a selection so far; a part is missing until its phase ends. */
export interface GpuSelectionMetadata {
  extraction_result?: ExtractionResult | null;
  profiling_results?: ProfilingResult[] | null;
  selection_results?: SelectionResults | null;
}

/** A script to try on each GPU profile of the account. */
export interface GpuSelectionRequest {
  /** Python source. */
  code: string;
  /** 0 for a plain script, 1 for notebook code. */
  nbcode?: number;
  /** Maximum duration of each try, in seconds. */
  timeout?: number;
  /** Text of a requirements.txt. Its packages are installed before the code runs. */
  requirements_content?: string | null;
  /** Modules or import statements to run before the code. */
  prior_imports?: string[] | null;
  /** Serialized interpreter state to start from. */
  kernel_state?: string | null;
  /** JSON object as text. Each key is the relative path of a file, and each value is the file's text. */
  import_files?: string | null;
  /** Script name. */
  file_name?: string | null;
}

/** An accepted selection, which has no stream. */
export interface GpuSelectionStartResponse {
  execution_id: string;
  status?: string;
  message?: string;
}

/** State and results of a selection. */
export interface GpuSelectionStatus {
  status?: string;
  execution_id?: string | null;
  system_errors?: string[] | null;
  metadata?: GpuSelectionMetadata | null;
}

/** The budget of a child key at a broker: `credits` for each `period` (week, month), or in total. */
export interface GrantedBudget {
  name?: string;
  credits?: number | null;
  period?: 'week' | 'month' | null;
  renews_at?: string | null;
  ends_at?: string | null;
}

/** An image, by web address or as `data:image/png;base64,…`. */
export interface ImageUrl {
  url: string;
}

/** An event of an asynchronous request: queued, then finished with a result or failed with an error. */
export interface InferenceEvent {
  event?: string | null;
  inference_id?: string | null;
  result?: unknown;
  error?: string | Record<string, unknown> | null;
}

/** The shape of a machine: 1, 2, 4 or 8 GPUs. */
export interface InstanceSpecs {
  gpu_count?: 1 | 2 | 4 | 8;
  /** Given in answers. */
  gpu_type?: string | null;
  /** Number of CPU cores. Only older answers contain it. */
  cpu?: number | null;
  /** GB, in older answers. */
  memory?: number | null;
  /** GB, in older answers. */
  disk?: number | null;
}

/** The invitation behind a link; every field may be missing. */
export interface InvitePreview {
  org_name?: string | null;
  org_slug?: string | null;
  email?: string | null;
  role?: string | null;
}

/** One payment: `amount` of money for `credits`. */
export interface Invoice {
  id: string;
  created_at?: string | null;
  amount?: number | null;
  status?: string;
  credits?: number | null;
  invoice_pdf?: string | null;
  receipt_url?: string | null;
  payment_intent_id?: string | null;
}

/** Payments, newest first. */
export interface Invoices {
  invoices: Invoice[];
  total_invoices?: number | null;
}

/** An active deployment; `id` is its deployment id. */
export interface IrisModel {
  id: string;
  object?: string | null;
  created?: number | null;
  meta?: IrisModelMeta | null;
}

/** The active deployments. */
export interface IrisModelList {
  object?: string | null;
  data: IrisModel[];
}

/** The deployment behind a model. */
export interface IrisModelMeta {
  hf_model_id?: string | null;
  hardware_profile?: string | null;
  min_replicas?: number | null;
  max_replicas?: number | null;
  healthy_replicas?: number | null;
  total_replicas?: number | null;
}

/** The code of a run as the author wrote it, and facts that the cloud doesn't store. */
export interface JournalCode {
  code: string;
  /** Commit of the working folder at the start; empty if unknown. */
  git_commit: string;
  labels: string[];
  /** Note of the user about the run. */
  note: string;
}

/** Runs, newest first; `before` requests the next runs, None at the end. */
export interface JournalContent {
  runs: JournalRun[];
  before: number | null;
}

/** A run that was started on this machine; moments are Unix seconds, credits decimal text. */
export interface JournalRun {
  row: number;
  execution_id: string | null;
  base_url: string;
  org: string | null;
  notebook: string | null;
  cell_id: string | null;
  code_hash: string;
  /** First line of its code, without magics, comments and imports. */
  line: string;
  machine: string | null;
  price_per_hour: string | null;
  options: Record<string, unknown>;
  labels: string[];
  run_name: string | null;
  created_at: number;
  state: string;
  going_on: boolean;
  started_at: number | null;
  ended_at: number | null;
  seconds: number | null;
  cost: string | null;
  reason: string;
  summary: Record<string, unknown>;
  group: string | null;
  /** Machines of the run's executor, with their maximum price; empty without an executor. */
  pool: string;
  /** Note of the user about the run. */
  note: string;
}

/** The local cloud of this machine. */
export interface LocalCloudContent {
  installed: boolean;
  running: boolean;
  base_url?: string | null;
}

/** Stored lines within a time span, in the server's order. */
export interface LogEntries {
  logs: LogEntry[];
  total?: number | null;
}

/** A stored line of output; the line may end in a newline. */
export interface LogEntry {
  message?: string;
  timestamp?: string | null;
  level?: string | null;
  execution_id?: string | null;
  user_id?: string | null;
  hostname?: string | null;
  /** Labels of the stream, such as stream: stderr. */
  labels?: Record<string, unknown> | null;
}

/** The machine of runs that name none, from now on. */
export interface MachineBody {
  machine: string;
}

/** The machine of runs without `--machine`, and the sources that override the choice. */
export interface MachineDefault {
  default: string;
  said: string[];
}

/** A machine as a row of a picker, in words; prices in credits. */
export interface MachineRow {
  profile: string;
  gpu: string;
  memory_gib: string;
  gpus: string;
  vcpus: string;
  ram_gib: string;
  price_per_hour: string;
  /** Cost of a run that reaches its time limit. */
  worst: string;
  allowed: string;
  free: string;
}

/** A machine type for runs; `price_per_hour` in credits, None if not published, or 0 for a GPU. */
export interface MachineType {
  /** Machine type, such as gpu.a100. */
  hardware_profile: string;
  price_per_hour?: number | null;
}

/** The catalogue. */
export interface MachineTypeList {
  machine_types: MachineType[];
  count?: number | null;
}

/** The machines that match a wish; `rows` is None for a wish that can't be parsed, `problem` is the reason. */
export interface MachinesContent {
  rows: MachineRow[] | null;
  total: string;
  problem: string;
  /** Machine type of the cheapest available match. */
  cheapest: string | null;
  /** Reason if no machine matches. */
  none_fits: string;
  /** Machine of runs without --gpu and --machine. */
  default: string;
  /** Time limit in seconds of runs without --timeout. */
  default_timeout: number;
}

/** The role in the joined organization. */
export interface Membership {
  role?: string;
}

/** Findings about the memory that a script needs. */
export interface MemoryConfig {
  memory_requirements?: MemoryRequirements | null;
  minimal_configs?: MinimalConfig[] | null;
}

/** Memory in GB that a model needs, by use; `parameter_count` in billions. */
export interface MemoryRequirements {
  parameter_count?: number | null;
  model_weights?: number | null;
  gradients?: number | null;
  optimizer_states?: number | null;
  activations?: number | null;
  largest_layer?: number | null;
}

/** An answer with a message. */
export interface Message {
  /** For display. */
  message?: string | null;
}

/** A sample; a null value is a gap. */
export interface MetricPoint {
  timestamp: string;
  value?: number | null;
}

/** Whether MFA is on, and since when. */
export interface MfaStatus {
  enabled?: boolean | null;
  enrolled_at?: string | null;
}

/** The minimum number of GPUs of a type for a model. */
export interface MinimalConfig {
  gpu_type?: string | null;
  per_gpu_vram_gb?: number | null;
  min_gpu_count?: number | null;
  vram_utilization_percent?: number | null;
}

/** The active models; the price book contains their prices. */
export interface ModelList {
  object?: string | null;
  data: ServedModel[];
}

/** Source and target of a move; a folder ends with a slash. */
export interface MoveBody {
  source: string;
  target: string;
  overwrite?: boolean;
  /** Copy: the source stays. */
  keep?: boolean;
}

/** A pending invitation to the caller. */
export interface MyInvite {
  id: string;
  org_name?: string;
  org_slug?: string;
  role?: string;
  created_at?: string | null;
}

/** An organization of the caller, with the role there: `owner`, `admin` or `member`. */
export interface MyOrg {
  slug: string;
  name?: string;
  id?: string;
  created_at?: string | null;
  billing_email?: string | null;
  billing_details?: OrgBillingDetails | null;
  role?: string;
  is_default?: boolean | null;
}

/** An API key to create. */
export interface NewKey {
  name: string;
}

/** A volume to create. */
export interface NewVolume {
  size_gb: number;
}

/** An organization; `id` stays if the slug changes. */
export interface Org {
  slug: string;
  name?: string;
  id?: string;
  created_at?: string | null;
  billing_email?: string | null;
  billing_details?: OrgBillingDetails | null;
}

/** A key of an organization without its secret; `prefix` is the start of the secret. */
export interface OrgApiKey {
  id: string;
  org_id?: string;
  name?: string;
  prefix?: string;
  is_active?: boolean | null;
  created_at?: string | null;
  expires_at?: string | null;
  last_used_at?: string | null;
}

/** The credits that an organization can still spend. */
export interface OrgBalance {
  balance: string;
  org_id?: string;
  account_suspended?: boolean;
}

/** Name, address and tax number of an organization for invoices. */
export interface OrgBillingDetails {
  billing_company_name?: string | null;
  billing_address_line1?: string | null;
  billing_address_line2?: string | null;
  billing_city?: string | null;
  billing_state?: string | null;
  billing_postal_code?: string | null;
  billing_country?: string | null;
  billing_tax_id?: string | null;
  billing_tax_id_type?: string | null;
}

/** An organization to create; without a slug the server chooses a slug. */
export interface OrgCreate {
  name: string;
  slug?: string | null;
  billing_email?: string | null;
}

/** A pending invitation of an organization. */
export interface OrgInvite {
  id: string;
  email?: string;
  role?: string;
  created_at?: string | null;
}

/** A member; `created_at` is the time of joining. */
export interface OrgMember {
  user_id: string;
  email?: string | null;
  role?: string;
  created_at?: string | null;
}

/** A user to add, as `owner`, `admin` or `member`. */
export interface OrgMemberAdd {
  email: string;
  role: 'owner' | 'admin' | 'member';
}

/** `added` if the e-mail address has an account; otherwise an invitation was sent. */
export interface OrgMemberAddResult {
  status?: string;
}

/** The new role: `owner`, `admin` or `member`. */
export interface OrgMemberRoleUpdate {
  role: 'owner' | 'admin' | 'member';
}

/** An entry of an organization's ledger: a credit was granted, a debit was spent. */
export interface OrgTransaction {
  id: string;
  kind?: string;
  amount?: string | null;
  created_at?: string | null;
  /** Cause of the entry; the fields depend on the source. */
  metadata?: Record<string, unknown> | null;
}

/** The debits with a common value. */
export interface OrgTransactionAggregate {
  group_by_value: string;
  count?: number | null;
  total_amount?: string | null;
  first_created_at?: string | null;
  last_created_at?: string | null;
}

/** Debits of a category, summed up by value. */
export interface OrgTransactionAggregates {
  category?: string;
  aggregates: OrgTransactionAggregate[];
}

/** Entries, newest first. */
export interface OrgTransactionList {
  transactions: OrgTransaction[];
}

/** Changes of an organization; omitted fields stay. */
export interface OrgUpdate {
  name?: string | null;
  slug?: string | null;
  billing_email?: string | null;
  billing_company_name?: string | null;
  billing_address_line1?: string | null;
  billing_address_line2?: string | null;
  billing_city?: string | null;
  billing_state?: string | null;
  billing_postal_code?: string | null;
  billing_country?: string | null;
  billing_tax_id?: string | null;
  billing_tax_id_type?: string | null;
}

/** The organization to act as; None for the account's default. */
export interface OrganizationBody {
  slug: string | null;
}

/** A volume created with a machine; the volume has no id yet. */
export interface PendingVolume {
  name?: string | null;
  size_gb?: number | null;
  status?: string;
}

/** A phase of a run; `duration` in seconds. */
export interface Phase {
  start_time?: string | null;
  end_time?: string | null;
  duration?: number | null;
}

/** All prices. */
export interface PriceBook {
  prices: PriceEntry[];
  count?: number | null;
}

/** The price of a meter for a selector, in credits. */
export interface PriceEntry {
  /** Name of the meter, such as vm_running. */
  meter_slug: string;
  /** Kind of resource, such as vm. */
  resource?: string | null;
  group_by?: Record<string, unknown> | null;
  applies_to?: Record<string, unknown> | null;
  /** Unit of unit_price, such as second. */
  unit?: string | null;
  unit_price?: string | null;
  unit_price_per_hour?: string | null;
}

/** An attempt: `execution_time` in seconds, `cost` in credits. */
export interface ProfilingResult {
  profile?: string | null;
  status?: string | null;
  execution_time?: number | null;
  cost?: number | null;
  runtime_report?: RuntimeReport | null;
}

/** A new display name; empty text clears it. */
export interface RenameVMRequest {
  display_name: string;
}

/** The current name of a machine. */
export interface RenameVMResponse {
  vm_id?: string | null;
  display_name?: string | null;
}

/** A VM or a model to start; the price is in credits per hour, as decimal text. */
export interface RentOffer {
  id: string;
  label: string;
  per_hour: string;
  /** Whether it is available now; None if the cloud doesn't report it. */
  free: boolean | null;
  /** Time until the end. */
  seconds: number;
  /** Time, end, cost until the end, and who ends it, in words. */
  end: string;
}

/** What can be started, cheapest first, spot VMs last; `note` is what a user must know before. */
export interface RentOffers {
  offers: RentOffer[];
  note: string;
}

/** The chosen offer, and the price that its user confirmed. */
export interface RentRequest {
  offer: string;
  /** Confirmed price in credits; nothing is started at a higher price. */
  per_hour: string;
  /** Confirmed time until the end. */
  seconds?: number | null;
}

/** A VM or a deployment that starts. */
export interface Rented {
  id: string;
  name: string;
}

/** A replica of the model; the replica answers once `healthy` is true. */
export interface Replica {
  replica_id: string;
  status?: string;
  healthy?: boolean | null;
  last_health_check?: string | null;
  fail_reason?: string | null;
}

/** The last output of a failed replica; None without output. */
export interface ReplicaLogs {
  replica_id?: string | null;
  error_logs?: string | null;
}

/** The number of lines in a batch, and of completed lines. */
export interface RequestCounts {
  total?: number | null;
  completed?: number | null;
  failed?: number | null;
}

/** A prompt to find a model for. */
export interface RoutePromptRequest {
  input: string;
}

/** The difficulty of a prompt, and a suitable model. */
export interface RoutePromptResponse {
  complexity?: string | null;
  score?: number | null;
  model?: string | null;
}

/** A new note about a run. */
export interface RunNote {
  note: string;
}

/** A run as one HTML file, and the name of the file. */
export interface RunPage {
  name: string;
  html: string;
}

/** Measurements of a running script; times in seconds. */
export interface RuntimeReport {
  estimated_per_epoch_time_s?: number | null;
  train_iteration?: TrainIteration | null;
  training?: TrainTime | null;
  'Peak VRAM Allocated (MB)'?: number | null;
}

/** A row of the result table; `htime` is `time` (seconds) for display. */
export interface SelectionMetrics {
  status?: string | null;
  time?: number | null;
  htime?: string | null;
  cost?: number | null;
  is_per_epoch?: boolean | null;
}

/** The best profiles, and the table of all profiles. */
export interface SelectionResults {
  best?: string | null;
  fastest?: string | null;
  cheapest?: string | null;
  metrics?: Record<string, SelectionMetrics> | null;
}

/** An active model; ids that differ in case only are different models. */
export interface ServedModel {
  id: string;
  object?: string | null;
  created?: number | null;
  owned_by?: string | null;
}

/** The version of the server's software. */
export interface ServerVersion {
  version?: string | null;
}

/** A change of a run's outputs, in the terms of Jupyter's messages. */
export interface Shown {
  kind: 'display' | 'update' | 'clear';
  /** Id of the output to update. */
  id?: string | null;
  /** Number of the output in the cell; negative for progress bars. */
  number?: number | null;
  /** Forms by MIME type. */
  data?: Record<string, unknown>;
  metadata?: Record<string, unknown>;
  /** Clear the output when the next output arrives. */
  wait?: boolean;
}

/** A key to check and store; without an address, for the configured server. */
export interface SignInBody {
  api_key: string;
  base_url?: string | null;
}

/** The answer of a user. */
export interface StartAnswer {
  id: string;
  start: boolean;
}

/** A kernel that waits for permission to start a machine; prices in credits, as decimal text. */
export interface StartQuestion {
  id: string;
  name: string;
  machine: string;
  /** Name of the file; empty for a kernel without one. */
  notebook: string;
  price_per_hour: string | null;
  highest_cost: string | null;
  /** Release the machine after this number of minutes without work. */
  idle_minutes: number;
}

/** All kernels that wait, as the web socket sends the list. */
export interface StartQuestionList {
  questions: StartQuestion[];
}

/** An accepted run. */
export interface StartResponse {
  execution_id: string;
  status?: string;
}

/** The signed-in account; `state` is the problem's state if the server didn't report the account. */
export interface StatusContent {
  state: 'signed-out' | 'revoked' | 'unreachable' | 'slow' | 'not-an-api' | 'refused' | 'not-allowed' | 'bad-request' | 'broken' | 'signed-in';
  detail?: string;
  base_url: string;
  is_local: boolean;
  /** Setting or variable that contains the address. */
  server_source?: string;
  /** Setting or variable that contains the key. */
  key_source?: string;
  /** Slug in requests; empty for the account's default. */
  organization_asked?: string | null;
  user?: UserStatus | null;
  organization?: UserOrg | null;
  /** Goes behind lk/api/. */
  balance_path?: string | null;
  /** Seconds by which the clock of the API is ahead of the Jupyter server's. */
  ahead?: number;
  /** Result of signing in or out, and the setting that overrides it. */
  said?: string[];
}

/** The ids of the things that the page showed, and its user confirmed. */
export interface StopBody {
  ids: string[];
}

/** The outcome of a stop: `remaining` may still be active and billed, for the reasons in `problems`. */
export interface StopContent {
  stopped: string[];
  problems: string[];
  remaining: BurningThing[];
  notes: string[];
}

/** The deployment to stop. */
export interface StopDeploymentRequest {
  deployment_id: string;
}

/** What a stop of everything stops; `notes` are lists that couldn't be read, and what stays with the reason. */
export interface StopPlanContent {
  things: BurningThing[];
  /** The question before the stop, with the cost per hour; empty without things. */
  question: string;
  notes: string[];
}

/** A page of a folder, folders first; `truncated` if the bucket has more keys in the folder than were read. */
export interface StorageContent {
  folder: string;
  items: StorageItem[];
  total: number;
  truncated: boolean;
}

/** How many objects that took. */
export interface StorageDone {
  objects: number;
}

/** A file or a folder of the bucket; a folder's key ends with a slash. */
export interface StorageItem {
  key: string;
  name: string;
  is_folder: boolean;
  /** Bytes. */
  size?: number | null;
  last_modified?: string | null;
}

/** The start of a file: a description, and the first rows or the text. */
export interface StoragePreview {
  key: string;
  written: string;
  /** Description of the file, or the reason for a missing preview. */
  words: string;
  /** Names and types. */
  columns?: unknown[][];
  rows?: string[][];
  text?: string;
  is_part?: boolean;
  /** Kind of value after loading. */
  kind?: 'table' | 'value' | '';
  /** Path of the file in a run. */
  remote?: string;
}

/** A new API key, whose secret is in a file. */
export interface StoredKey {
  name: string;
  path: string;
}

/** An event of a run: all numbers that its code has printed repeatedly so far. */
export interface StreamCurves {
  curves: CurveContent[];
}

/** How a run ended. */
export interface StreamEnd {
  return_code: number | null;
  error: string | null;
}

/** The end of a run, after which only its last curves are sent. */
export interface StreamFinished {
  finished: StreamEnd;
}

/** Additional data in a stream. */
export interface StreamOptions {
  /** Add a last chunk with the token counts. */
  include_usage?: boolean | null;
}

/** An event of a run: the next piece of output. */
export interface StreamOutput {
  output: string;
}

/** An event of a run: an output other than text. */
export interface StreamShown {
  shown: Shown;
}

/** The last event of a stream that broke. */
export interface StreamTrouble {
  trouble: TroubleContent;
}

/** A Python run to start. */
export interface StreamingExecutionRequest {
  /** Python source. */
  code: string;
  /** 0 for a plain script, 1 for notebook code. */
  nbcode?: number;
  /** Maximum duration of the run, in seconds. */
  timeout?: number;
  /** Text of a requirements.txt. Its packages are installed before the code runs. */
  requirements_content?: string | null;
  /** Modules or import statements to run before the code. */
  prior_imports?: string[] | null;
  /** Serialized interpreter state to start from. */
  kernel_state?: string | null;
  /** JSON object as text. Each key is the relative path of a file, and each value is the file's text. */
  import_files?: string | null;
  /** Script name, also the display name when run_name is missing. */
  file_name?: string | null;
  /** Machine to run on. */
  execution_type?: string;
  /** HTTPS addresses that the cloud calls when the run ends. */
  user_callback_urls?: string[] | null;
  /** Display name, in place of the file name. */
  run_name?: string | null;
  /** Tags of your choice, to find the run later. */
  labels?: string[] | null;
  /** Key-value pairs of your choice. */
  metadata?: Record<string, string> | null;
}

/** An accepted Python run. */
export interface StreamingStartResponse {
  execution_id: string;
  status?: string;
  /** Hardware advice of the scheduler, for display. */
  pythia_decision?: string | null;
}

/** The present state of a run. */
export interface StreamingStatus {
  status?: string;
  execution_id?: string | null;
  errors?: string[] | null;
}

/** An ended machine; its volumes are free and keep costing credits. */
export interface TerminateVMResponse {
  vm_id?: string | null;
  status?: string | null;
  message?: string | null;
  detached_volumes?: AttachedVolume[] | null;
}

/** The time span of the samples. */
export interface TimeRange {
  start?: string | null;
  end?: string | null;
}

/** The duration of a run in seconds, by phase. */
export interface Timing {
  total_duration?: number | null;
  jobRequestSent?: number | null;
  queued?: number | null;
  launchingContainer?: number | null;
  executingJob?: number | null;
  shuttingDown?: number | null;
  total?: number | null;
  phases?: Record<string, Phase> | null;
}

/** Timing of a run. */
export interface TimingResponse {
  execution_id?: string | null;
  timing?: Timing | null;
}

/** A tool call requested by the model; in a stream the pieces of a call share `index`. */
export interface ToolCall {
  index?: number | null;
  id?: string | null;
  type?: string | null;
  function?: ToolFunction | null;
}

/** A function call requested by the model; `arguments` is JSON text. */
export interface ToolFunction {
  name?: string | null;
  arguments?: string | null;
}

/** Speed of the training loop. */
export interface TrainIteration {
  train_iterations_per_second?: number | null;
}

/** Time of a training step. */
export interface TrainTime {
  avg_train_time_ms?: number | null;
}

/** A problem, as a state for the page's design and as a line for the user. */
export interface TroubleContent {
  state: 'signed-out' | 'revoked' | 'unreachable' | 'slow' | 'not-an-api' | 'refused' | 'not-allowed' | 'bad-request' | 'broken';
  detail: string;
  request_id?: string | null;
  retry_after?: string | null;
}

/** A file to store. */
export interface UploadFileBody {
  file: string;
}

/** The stored file. */
export interface UploadResponse {
  key?: string;
  /** Bytes. */
  size?: number | null;
  etag?: string;
  message?: string;
}

/** Token counts. */
export interface Usage {
  prompt_tokens?: number | null;
  completion_tokens?: number | null;
  total_tokens?: number | null;
  prompt_tokens_details?: CachedTokens | null;
}

/** The credit balance with account data. */
export interface UserCredits {
  available_credits: number;
  user_id?: string;
  email?: string;
  used_credits?: number | null;
  total_credits_used?: number | null;
  created_at?: string | null;
  last_updated?: string | null;
  stripe_customer_id?: string | null;
  monthly_free_credits?: number | null;
  purchased_credits?: number | null;
}

/** The organization of the credentials. */
export interface UserOrg {
  org_id?: string;
  slug?: string | null;
  name?: string | null;
  is_personal?: boolean | null;
  is_key_scoped?: boolean | null;
}

/** The caller's profile; every field may be missing. */
export interface UserStatus {
  user_id?: string | null;
  org_id?: string | null;
  email?: string | null;
  full_name?: string | null;
  created_at?: string | null;
  is_active?: boolean | null;
  active_api_keys_count?: number | null;
  credit_balance?: number | null;
  status?: string | null;
}

/** A machine. `ip_address` is `host` or `host:port`; the SSH user is `lyceum`. */
export interface VM {
  vm_id: string;
  status?: string;
  created_at?: string | null;
  instance_specs?: InstanceSpecs;
  ip_address?: string | null;
  hardware_profile?: string | null;
  gpu_count?: number | null;
  instance_type?: string | null;
  name?: string | null;
  display_name?: string | null;
  billed?: number | null;
  /** Credits that the VM has cost so far. Use this field, not `billed`. */
  croesus_billed?: number | null;
  status_check_url?: string | null;
  polling_message?: string | null;
  user_id?: string | null;
  org_id?: string | null;
  volume?: PendingVolume | null;
  volume_notice?: string | null;
  volume_migration_in_progress?: boolean | null;
}

/** The current offer, valid for minutes. */
export interface VMAvailability {
  available_instance_variants?: VMInstanceVariant[];
  available_hardware_profiles?: VMHardwareProfile[] | null;
}

/** A GPU with its price in credits for one GPU and hour; spot and on demand may be mixed. */
export interface VMHardwareProfile {
  hardware_profile: string;
  gpu_type?: string | null;
  price_per_hour?: number | null;
  allowed_gpus_per_instance?: number[] | null;
  available_gpus_per_instance?: number[] | null;
}

/** The offered machines; without counts, nothing is free now. Prices are in credits for one GPU and hour. */
export interface VMInstanceVariant {
  hardware_profile: string;
  gpu_type?: string | null;
  instance_type: string;
  price_per_hour?: number | null;
  allowed_gpus_per_instance?: number[] | null;
  available_gpus_per_instance?: number[] | null;
  /** Numbers of GPUs with which a VM can get a new volume. */
  block_storage_gpu_counts?: number[] | null;
}

/** Machines of the acting organization. */
export interface VMList {
  vms: VM[];
  total?: number | null;
}

/** The current state of a machine, with all volumes; `uptime_seconds` counts from `ready`. */
export interface VMStatus {
  vm_id: string;
  status?: string;
  instance_specs?: InstanceSpecs;
  created_at?: string | null;
  ip_address?: string | null;
  uptime_seconds?: number | null;
  billed?: number | null;
  croesus_billed?: number | null;
  hardware_profile?: string | null;
  gpu_count?: number | null;
  instance_type?: string | null;
  name?: string | null;
  display_name?: string | null;
  volumes?: AttachedVolume[] | null;
}

/** A code to look up, and the e-mail address of the account for the voucher. */
export interface VoucherValidateRequest {
  email: string;
  code: string;
}

/** Whether a voucher is valid; `voucher_amount` in credits, `error` is the reason if invalid. */
export interface VoucherValidation {
  valid?: boolean | null;
  voucher_id?: string | null;
  voucher_amount?: number | null;
  error?: string | null;
}

/** A run that has not ended. */
export interface Workload {
  status?: string;
  execution_id: string;
  created_at?: string | null;
  execution_type?: string | null;
  job_type?: string | null;
  hardware_profile?: string | null;
  file_name?: string | null;
  execution_owner?: string | null;
  run_name?: string | null;
  labels?: string[] | null;
  metadata?: Record<string, unknown> | null;
}
