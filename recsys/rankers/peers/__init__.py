"""Other libraries' models, one file a library: each trains in an environment of its own and hands over plain arrays.

A file here imports numpy, scipy and, inside its functions, its library, nothing of this package: ``work.py`` runs it
with the library's own Python. It has

    VERSION    the library's version, as requirements/peers/ pins it
    IMPORTS    modules loaded before the clock starts
    MODELS     the parameters of each model, by the library's own names
    fit        model, parameters, train (binary CSR ``[n_users, n_items]``) and seed to one of these sets of arrays:

    user [n_users, dim], item [n_items, dim]     score = user · item
    item, fold [2] (and user)                    a user's vector x is solved for from the items y of his history:
                                                 (item' item + fold[1] I + fold[0] sum y y') x = (1 + fold[0]) sum y
    weights, or data, indices, indptr            score = sum over the history of its items' rows, [n_items, n_items]
    nearest [1] beside weights                   ... of the so many largest of them alone
"""
