// Made from the Python options by `make docs`: change those.

/** Option of `%%lk_run` → what it does. */
export const RUN_OPTIONS: Record<string, string> = {
  "--gpu": "GPU, such as A100 or 4xA100. \"A100|H100\" uses the first GPU that you may use; any uses the cheapest available GPU; A100,H100 starts one run on each.",
  "--machine": "Machine type, such as gpu.a100 or cpu, instead of --gpu. Types separated by commas start one run each.",
  "--memory": "Minimum GPU memory, in GiB. With --gpu any, the run uses the cheapest GPU with this memory.",
  "--max-price": "Maximum price of the machine, in credits per hour.",
  "--timeout": "Time limit, such as 90s, 10m or 1h30m. Default: setting timeout. Maximum: setting max_timeout.",
  "--max-cost": "Stop the run before it costs more credits than this. Default: setting max_cost.",
  "--save": "Variable that receives the Run object or, for several runs, their table as a DataFrame.",
  "--detach": "Don't wait: the run stays active, and its log keeps updating.",
  "--on-interrupt": "What an interrupt does to the run: abort it, or detach and keep it running. Default: setting on_interrupt.",
  "--quiet": "Show only the receipt, not the log.",
  "--name": "Display name of the run.",
  "--label": "Label of the run, for searches; may be repeated.",
  "--metadata": "Metadata to store with the run, as key=value; may be repeated.",
  "--no-hints": "Show no hints about failed or slow runs. To turn off the hints for all runs: %lk_config hints off.",
  "--allow-secrets": "Send the run even if it seems to contain a secret.",
  "--ask": "Show the highest cost and send the run only after your confirmation, also in Run All. The cell tag lk-ask has the same effect.",
  "--dry-run": "Show the request and its highest possible cost; send nothing.",
  "-r": "Packages: names such as 'torch>=2.4', a requirements file, auto (imports of the code) or project (its lock file).",
  "--requirements": "Packages: names such as 'torch>=2.4', a requirements file, auto (imports of the code) or project (its lock file).",
  "--files": "Files to upload, as paths or globs. Local modules that the code imports are uploaded automatically.",
  "--attach": "auto: if this machine already started a run with the same code, follow that run. Otherwise start a new run.",
  "--nproc": "Number of processes that run the code, one for each GPU, with the environment of torchrun. Default: 1.",
  "--arg": "Argument for sys.argv; may be repeated.",
  "--in": "Variables of this notebook to upload, such as df,model. Unchanged variables aren't uploaded again.",
  "--inputs": "Variables of this notebook to upload, such as df,model. Unchanged variables aren't uploaded again.",
  "--in-all": "Upload every variable that the cell reads.",
  "--out": "Variables to download into this notebook when the run finishes, such as history,best.",
  "--outputs": "Variables to download into this notebook when the run finishes, such as history,best.",
  "--pickle": "Pickle values that have no other format. Python and packages must match on both sides.",
  "--sync": "Send the variables that the cell reads, and return the changed variables. The setting carry makes this the default.",
  "--fresh": "Run in a fresh process. No variables are sent or returned.",
  "--secret": "Stored secret that the code can read; may be repeated. Default: all stored secrets.",
  "--sweep": "Variable and its values, such as lr=0.1,0.01. Each value gets one run. Several sweeps and machines are combined.",
  "--parallel": "Maximum concurrent runs; the rest queue locally. Default: setting parallel.",
  "--metric": "Name of the printed number that ranks several runs, such as accuracy, or a pattern with one group. The highest number is best; for a loss or an error, the lowest. NAME:min or NAME:max overrides this.",
  "--stop-on-first": "Keep the first run that completes, and abort the others.",
  "--require-all": "Raise an error if any of several runs fails. Default: only if all fail.",
  "--on": "vm: rent a VM for the cell and delete the VM at the end. Default: run. If --timeout is too long for a run, you are asked whether to rent a VM.",
  "--spot": "With --on vm: pay less for a VM that the cloud may reclaim at any time.",
  "--retries": "With --on vm: maximum number of new VMs after a VM fails or is reclaimed. Each new VM continues from the last checkpoint.",
  "--relay": "Continue in another run after each run's time limit, until --timeout. Each run restores the files of lk_jupyter.checkpoint_folder().",
  "--volume": "With --on vm: volume to attach, or new:GB. In the code, LK_VOLUME is its folder. The volume stays and is billed.",
  "--no-vm-key": "With --on vm: send no API key. The VM then can't delete itself, so this kernel must stay active.",
  "--resume": "Id of the run to resume from. Your code finds the checkpoint of this run in the folder lk_resume.",
  "--stage": "Bucket folder to copy to the run's disk before the code starts, as KEY:FOLDER or KEY:volume/FOLDER; may be repeated.",
  "--session": "Session to run in: a Python process that keeps variables between cells. The session is started if necessary.",
  "--idle": "Minutes without work after which the session ends, unless its time limit ends earlier. Default: 20.",
  "--keep": "Keep the machine for this time between cells, such as 5m. Cells share one Python process. With 0, each cell is a separate run.",
  "--image": "Image for the cell, such as pytorch/pytorch. --session and --keep need an image with Jupyter.",
  "--time": "Show how long each phase took before the first line of the cell ran.",
  "--rich": "Show figures, tables and display() while the code runs, and accept IPython syntax. Default: on for a cell, off for a script."
};

/** Series of metrics: field of the API, words, unit, the panel of its plot, factor to the unit. */
export const SERIES = [
  {
    "field": "gpuUtilizationPercent",
    "label": "GPU utilization",
    "unit": "%",
    "panel": "GPU",
    "factor": 1.0
  },
  {
    "field": "gpuMemoryUtilizationPercent",
    "label": "GPU memory",
    "unit": "%",
    "panel": "GPU",
    "factor": 1.0
  },
  {
    "field": "gpuTemperatureCelsius",
    "label": "GPU temperature",
    "unit": "°C",
    "panel": "Temperature",
    "factor": 1.0
  },
  {
    "field": "gpuPowerWatt",
    "label": "GPU power",
    "unit": "W",
    "panel": "Power",
    "factor": 1.0
  },
  {
    "field": "gpuPowerLimitWatt",
    "label": "GPU power limit",
    "unit": "W",
    "panel": "Power",
    "factor": 1.0
  },
  {
    "field": "gpuClockSmMhz",
    "label": "GPU clock",
    "unit": "MHz",
    "panel": "Clocks",
    "factor": 1.0
  },
  {
    "field": "gpuClockMemMhz",
    "label": "GPU memory clock",
    "unit": "MHz",
    "panel": "Clocks",
    "factor": 1.0
  },
  {
    "field": "gpuPcieThroughputRxBytesPerSec",
    "label": "PCIe to the GPU",
    "unit": "MB/s",
    "panel": "PCIe",
    "factor": 1e-06
  },
  {
    "field": "gpuPcieThroughputTxBytesPerSec",
    "label": "PCIe from the GPU",
    "unit": "MB/s",
    "panel": "PCIe",
    "factor": 1e-06
  },
  {
    "field": "systemCpuUsagePercent",
    "label": "CPU",
    "unit": "%",
    "panel": "CPU",
    "factor": 1.0
  },
  {
    "field": "systemRamUsedBytes",
    "label": "RAM used",
    "unit": "GiB",
    "panel": "RAM",
    "factor": 9.313225746154785e-10
  },
  {
    "field": "systemRamTotalBytes",
    "label": "RAM total",
    "unit": "GiB",
    "panel": "RAM",
    "factor": 9.313225746154785e-10
  }
] as const;
