"""Tests in a real browser; eight of them are the journeys of a new user.

| journey | test |
|---|---|
| first contact | `test_first_hour.py`: the launcher's tile opens the quickstart |
| own cell | `test_first_hour.py`: Run on writes the cell that loads the extension |
| failure | `test_first_hour.py`: a run fails, says why once, and its hint mends the cell |
| detach and return | `test_detached.py`: a detached run is told on the desktop, and followed again |
| money | `test_money.py`: a run costs the same everywhere |
| files | `test_storage_browser.py`: files are found, dropped and loaded |
| compare machines | `test_machine_picker.py`: a machine is found, chosen and run on |
| rent and return a machine | `test_panel.py`: the sections of the panel, ``_rented`` |

Each counts how often the whole page writes a state: once (``notebook.says_once`` says what that is).
"""
