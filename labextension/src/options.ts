// Made from the Python options by `make docs`: change those.

/** Option of `%%lk_run` → what it does. */
export const RUN_OPTIONS: Record<string, string> = {
  "--gpu": "GPU to run on: A100, a100 or gpu.a100. \"A100|H100\" takes the first that you may use, A100,H100 all of them, each in a run of its own.",
  "--machine": "Machine profile to run on, such as gpu.a100 or cpu, in place of --gpu; several with commas.",
  "--timeout": "Seconds the run may take. Default: the setting timeout; at most the setting max_timeout.",
  "--max-cost": "Credits at which the run is stopped, before its time limit. Default: the setting max_cost.",
  "--name": "Display name of the run.",
  "--label": "Tag for finding the run again; may be repeated.",
  "--metadata": "key=value to keep with the run; may be repeated.",
  "--save": "Variable that receives the Run object; of several runs the table, as a DataFrame.",
  "--detach": "Start the run and return at once; the log goes on in the background.",
  "--on-interrupt": "What an interrupt does to the run: abort, or detach to let it go on in the background. Default: the setting on_interrupt.",
  "--quiet": "Show the receipt only, not the log.",
  "--no-doctor": "Show no hints on what went wrong or slowly; or set doctor to off.",
  "--allow-secrets": "Send the run though it holds what looks like a secret.",
  "--plan": "Show what would be sent and what it may cost; send nothing.",
  "-r": "Packages to install first: a requirements file, names such as \"torch>=2.4\", or auto for the cell's imports with the versions of this kernel.",
  "--requirements": "Packages to install first: a requirements file, names such as \"torch>=2.4\", or auto for the cell's imports with the versions of this kernel.",
  "--files": "Text files to ship beside the code, as paths or globs. Local modules that the cell imports go by themselves.",
  "--arg": "Argument for sys.argv; may be repeated.",
  "--in": "Variables of this notebook to send along, such as df,model. What is stored is not sent again.",
  "--inputs": "Variables of this notebook to send along, such as df,model. What is stored is not sent again.",
  "--in-all": "Send along every variable that the cell reads before it sets it.",
  "--out": "Variables to bring back into this notebook when the run has ended, such as history,best.",
  "--outputs": "Variables to bring back into this notebook when the run has ended, such as history,best.",
  "--pickle": "Pickle what has no form of its own; Python and packages must then be the same at both ends.",
  "--sweep": "A variable that the cell finds set, with a run for each of its values: lr=0.1,0.01. Several are combined, with the machines too.",
  "--parallel": "Most runs of several that go on at once; the others wait here. Default: the setting parallel.",
  "--score": "A figure that the cell prints, by its name (accuracy) or a pattern with one group, for the table that compares several runs. The highest is the best, or the lowest of a loss or an error; NAME:min and NAME:max say which.",
  "--first": "Of several runs keep the first that completes, and abort the others.",
  "--strict": "Raise when one of several runs fails, not only when all do.",
  "--resume": "Run whose checkpoint to go on from: the code finds the folder with what it saved in lk_resume.",
  "--attach": "auto: follow the run, or the several, that this cell has started with the same code before, if it goes on or ended unseen, and start it else.",
  "--rich": "Show figures, tables and display() as they are made, and understand IPython's syntax. Default: on for a cell, off for a script."
};

/** States of a run that has ended; any other means that it goes on. */
export const FINAL_STATES = ['aborted', 'cancelled', 'completed', 'error', 'failed', 'failed_system', 'failed_user', 'success', 'system_failure', 'timeout'];

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
