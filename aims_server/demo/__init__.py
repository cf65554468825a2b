"""A simulated platform: answers as the real one is known to, for invented students.

::

    catalogue  invented names, courses    timetable      when classes are held
    college    students and their marks   records, pages rows in the platform's shapes
    tokens     the JWT of a login         switches       what is not known, to choose
    desk       what each call is answered handlers       HTTP in and out
    faults     what goes wrong, how often wrong_answers  sound HTTP, wrong content
    gate       answers held until told    misdeeds       what is done on the socket
    counters   what was asked, how much at once
    platform   all of it, to start, steer and stop
    command    the same as a process of its own
    launch     that process, started and ended by `aims-server demo`

Nothing here is a real person, token or PIN.
"""
