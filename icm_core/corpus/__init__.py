"""Many pictures, on one machine or on several: the same work, whoever does it.

::

    names -> items -> units -> engine -> outcomes -> rows in the order of the items, and what failed
                               `-> lanes: each opens the job once, and has one pipeline

* `work`: what a job is, and what a lane gives back.
* `encoding`, `decoding`: the two jobs of the program; `finished` and `journal` say what earlier runs have done.
* `engine`: who works. `here` is this process, `processes` are several, `on_ray` are actors on one machine or many;
  `dispatch` hands units to whoever is free, and notices who ended.
"""
